#!/bin/sh
# Ceph with its S3 gateway, in one folder and in memory, until it is told to end: one monitor, one store, one gateway.
#
#   rgw.sh FOLDER MONITOR_PORT OTHER_MONITOR_PORT GATEWAY_PORT KEY SECRET
set -eu

dir=$1
addresses="[v2:127.0.0.1:$2/0,v1:127.0.0.1:$3/0]"
port=$4
key=$5
secret=$6
pids=

end() {
  # Nothing in it is to be kept. Not quoted: one word per process.
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill -KILL $pids 2> /dev/null || true
  wait
}
trap end EXIT
trap 'exit 0' TERM INT

uuid() {
  cat /proc/sys/kernel/random/uuid
}
fsid=$(uuid)
osd=$(uuid)

mkdir -p "$dir/mon" "$dir/osd"
cat > "$dir/ceph.conf" << END
[global]
fsid = $fsid
mon host = $addresses
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $dir/keyring
run dir = $dir
admin socket = $dir/\$name.asok
log file = $dir/\$name.log
pid file = $dir/\$name.pid
crash dir = $dir
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon data = $dir/mon
osd data = $dir/osd
osd objectstore = memstore
memstore device bytes = 1073741824
osd crush chooseleaf type = 0
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:$port
END
export CEPH_CONF="$dir/ceph.conf"

ring="$dir/keyring"
ceph-authtool --create-keyring "$ring" --gen-key -n mon. --cap mon 'allow *'
ceph-authtool "$ring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
ceph-authtool "$ring" --gen-key -n client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx'
ceph-authtool "$ring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
monmaptool --create --addv a "$addresses" --fsid "$fsid" "$dir/monmap"
ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$ring"
ceph-mon -i a -f &
pids="$pids $!"
timeout 60 ceph auth import -i "$ring"
timeout 60 ceph osd new "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0 -f &
pids="$pids $!"
radosgw -n client.rgw.a -f &
pids="$pids $!"
timeout 120 radosgw-admin -n client.admin user create --uid=tests --display-name=tests \
  --access-key="$key" --secret="$secret" > /dev/null
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/"; do sleep 0.2; done
now=$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')
signature=$(printf 'PUT\n\n\n%s\n/bucket' "$now" | openssl dgst -sha1 -hmac "$secret" -binary | base64)
curl --silent --fail -X PUT -H "Date: $now" -H "Authorization: AWS $key:$signature" "http://127.0.0.1:$port/bucket"
touch "$dir/ready"
wait
