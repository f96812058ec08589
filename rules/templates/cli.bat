@echo off
rem Starts and controls the release @@NAME@@. Every RELEASE_* variable below can be set from outside or in env.bat.
setlocal disabledelayedexpansion

pushd "%~dp0\.."
set "RELEASE_ROOT=%cd%"
popd
if not defined RELEASE_PROG (set "RELEASE_PROG=%~nx0")

rem The arguments are taken before delayed expansion, which would eat the exclamation marks in them.
set "RELEASE_COMMAND=%~1"
set "REL_EXPR=%~2"
set "REL_ARGS="
:arguments
if [%3]==[] goto arguments_end
set REL_ARGS=%REL_ARGS% %3
shift /1
goto arguments
:arguments_end

setlocal enabledelayedexpansion
if not defined RELEASE_NAME (set "RELEASE_NAME=@@NAME@@")
for /f "usebackq tokens=1,2" %%K in ("!RELEASE_ROOT!\releases\start_erl.data") do (
  set "ERTS_VSN=%%K"
  if not defined RELEASE_VSN (set "RELEASE_VSN=%%L")
)
if not defined RELEASE_VSN (
  echo ERROR: no version to start in !RELEASE_ROOT!\releases\start_erl.data 1>&2
  exit /B 1
)
set "REL_VSN_DIR=!RELEASE_ROOT!\releases\!RELEASE_VSN!"
if not exist "!REL_VSN_DIR!\" (
  echo ERROR: there is no version !RELEASE_VSN! of !RELEASE_NAME!: !REL_VSN_DIR! is missing 1>&2
  exit /B 1
)

rem Other names of the same commands become the usual ones here, because env.bat may look at the command.
if "!RELEASE_COMMAND!" == "foreground" (set "RELEASE_COMMAND=start")
if "!RELEASE_COMMAND!" == "console" (set "RELEASE_COMMAND=start_iex")
if "!RELEASE_COMMAND!" == "remote_console" (set "RELEASE_COMMAND=remote")

call "!REL_VSN_DIR!\env.bat" %*

set "COOKIE_FILE=!RELEASE_ROOT!\releases\COOKIE"
if not defined RELEASE_MODE (set "RELEASE_MODE=embedded")
if not defined RELEASE_NODE (set "RELEASE_NODE=!RELEASE_NAME!")
if not defined RELEASE_TMP (set "RELEASE_TMP=!RELEASE_ROOT!\tmp")
if not defined RELEASE_VM_ARGS (set "RELEASE_VM_ARGS=!REL_VSN_DIR!\vm.args")
if not defined RELEASE_REMOTE_VM_ARGS (set "RELEASE_REMOTE_VM_ARGS=!REL_VSN_DIR!\remote.vm.args")
if not defined RELEASE_DISTRIBUTION (set "RELEASE_DISTRIBUTION=sname")
if not defined RELEASE_BOOT_SCRIPT (set "RELEASE_BOOT_SCRIPT=start")
if not defined RELEASE_BOOT_SCRIPT_CLEAN (set "RELEASE_BOOT_SCRIPT_CLEAN=start_clean")
if not defined RELEASE_SYS_CONFIG (set "RELEASE_SYS_CONFIG=!REL_VSN_DIR!\sys")

set "REL_KNOWN="
for %%D in (none name sname) do if "!RELEASE_DISTRIBUTION!" == "%%D" (set "REL_KNOWN=1")
if not defined REL_KNOWN (
  echo ERROR: Expected RELEASE_DISTRIBUTION to be sname, name, or none, got: !RELEASE_DISTRIBUTION! 1>&2
  exit /B 1
)

for %%C in (start start_iex eval rpc remote restart stop pid ping install version describe help) do (
  if "!RELEASE_COMMAND!" == "%%C" (goto command_%%C)
)
for %%C in (daemon daemon_iex attach) do if "!RELEASE_COMMAND!" == "%%C" (
  echo ERROR: %%C is not available on Windows, see install 1>&2
  exit /B 1
)
call :usage 1>&2
if not defined RELEASE_COMMAND (exit /B 0)
echo ERROR: Unknown command !RELEASE_COMMAND! 1>&2
exit /B 1

:command_start
set "REL_EXEC=elixir"
set "REL_EXTRA=--no-halt"
goto start

:command_start_iex
set "REL_EXEC=iex"
set "REL_EXTRA="
goto start

:start
call :need_sys_config || exit /B 1
call :need_cookie make || exit /B 1
call :name_node "!RELEASE_NODE!"
rem Not called but continued with, here and below: `call` would expand the percent signs in an expression again.
"!REL_VSN_DIR!\!REL_EXEC!.bat" !REL_EXTRA! ^
  --cookie "!RELEASE_COOKIE!" ^
  !REL_NODE_FLAG! ^
  --erl "@@MODE@@ !RELEASE_MODE!" ^
  --erl-config "!RELEASE_SYS_CONFIG!" ^
  --boot "!REL_VSN_DIR!\!RELEASE_BOOT_SCRIPT!" ^
  --boot-var RELEASE_LIB "!RELEASE_ROOT!\lib" ^
  --vm-args "!RELEASE_VM_ARGS!"
exit /B

:command_eval
if not defined REL_EXPR (
  echo ERROR: EVAL expects an expression as argument 1>&2
  exit /B 1
)
call :need_sys_config || exit /B 1
call :need_cookie make || exit /B 1
"!REL_VSN_DIR!\elixir.bat" ^
  --eval "!REL_EXPR!" ^
  --cookie "!RELEASE_COOKIE!" ^
  --erl-config "!RELEASE_SYS_CONFIG!" ^
  --boot "!REL_VSN_DIR!\!RELEASE_BOOT_SCRIPT_CLEAN!" ^
  --boot-var RELEASE_LIB "!RELEASE_ROOT!\lib" ^
  --vm-args "!RELEASE_VM_ARGS!" -- !REL_ARGS!
exit /B

:command_remote
call :need_connection || exit /B 1
call :name_node "rem-!RANDOM!-!RELEASE_NODE!"
"!REL_VSN_DIR!\iex.bat" ^
  --hidden --cookie "!RELEASE_COOKIE!" ^
  !REL_NODE_FLAG! ^
  --boot "!REL_VSN_DIR!\!RELEASE_BOOT_SCRIPT_CLEAN!" ^
  --boot-var RELEASE_LIB "!RELEASE_ROOT!\lib" ^
  --vm-args "!RELEASE_REMOTE_VM_ARGS!" ^
  --remsh "!RELEASE_NODE!"
exit /B

:command_rpc
if not defined REL_EXPR (
  echo ERROR: RPC expects an expression as argument 1>&2
  exit /B 1
)
call :need_rpc || exit /B 1
"!REL_VSN_DIR!\elixir.bat" !REL_RPC! --rpc-eval "!RELEASE_NODE!" "!REL_EXPR!"
exit /B

:command_stop
set "REL_EXPR=System.stop()"
goto control

:command_restart
set "REL_EXPR=System.restart()"
goto control

:command_pid
set "REL_EXPR=IO.puts(System.pid())"
goto control

:control
call :need_rpc || exit /B 1
call "!REL_VSN_DIR!\elixir.bat" !REL_RPC! --rpc-eval "!RELEASE_NODE!" "!REL_EXPR!" && exit /B 0
echo ERROR: !RELEASE_COMMAND! failed: is !RELEASE_NODE! running, and with this cookie? 1>&2
exit /B 1

:command_ping
call :need_rpc || exit /B 1
call "!REL_VSN_DIR!\elixir.bat" !REL_RPC! --rpc-eval "!RELEASE_NODE!" "IO.puts(:pong)" 2>nul && exit /B 0
echo ERROR: !RELEASE_NODE! does not answer: it is not running, or its cookie or its name is another 1>&2
exit /B 1

:command_version
echo !RELEASE_NAME! !RELEASE_VSN!
exit /B 0

:command_describe
set "REL_FILE=!REL_VSN_DIR!\@@NAME@@.rel"
set "REL_COOKIE_FROM=none yet, made at the first start"
if exist "!COOKIE_FILE!" (set "REL_COOKIE_FROM=in releases\COOKIE")
if defined RELEASE_COOKIE (set "REL_COOKIE_FROM=given by RELEASE_COOKIE")
set "REL_ERTS_FROM=from PATH"
if exist "!RELEASE_ROOT!\erts-!ERTS_VSN!\" (set "REL_ERTS_FROM=included")
echo name:         !RELEASE_NAME!
echo version:      !RELEASE_VSN!
echo root:         !RELEASE_ROOT!
echo erts:         !ERTS_VSN! (!REL_ERTS_FROM!)
echo node:         !RELEASE_NODE! (!RELEASE_DISTRIBUTION!)
echo cookie:       !REL_COOKIE_FROM!
echo applications:
rem \x22 and \x27 are the quotes, which could not be written here; a caret is doubled where a line expands a variable.
set "REL_PS=$text = [IO.File]::ReadAllText($env:REL_FILE) -replace '(?s)^.*\{erts,[^}]*\},', '';"
set "REL_PS=!REL_PS! foreach ($app in [regex]::Matches($text,"
set "REL_PS=!REL_PS! '\{\s*\x27?([^^\x27,\x22{}\[\]]+)\x27?,\s*\x22([^^\x22]+)\x22(?:,\s*([a-z]+))?')) {"
set "REL_PS=!REL_PS! $mode = $app.Groups[3].Value; if (-not $mode) { $mode = 'permanent' };"
set "REL_PS=!REL_PS! '    {0,-24} {1,-12} {2}' -f $app.Groups[1].Value, $app.Groups[2].Value, $mode }"
powershell -NoProfile -NonInteractive -Command "!REL_PS!"
exit /B

:command_install
if "!RELEASE_DISTRIBUTION!" == "none" (
  echo ERROR: RELEASE_DISTRIBUTION is required in install command 1>&2
  exit /B 1
)
call :need_sys_config || exit /B 1
call :need_cookie make || exit /B 1
set "ERLSRV=erlsrv.exe"
if exist "!RELEASE_ROOT!\erts-!ERTS_VSN!\" (set "ERLSRV=!RELEASE_ROOT!\erts-!ERTS_VSN!\bin\erlsrv.exe")
set "REL_ENV="
for %%V in (ROOT NAME VSN MODE COOKIE NODE VM_ARGS TMP SYS_CONFIG) do (
  set "REL_ENV=!REL_ENV! -env RELEASE_%%V="!RELEASE_%%V!""
)
set "REL_SERVICE=!RELEASE_NAME!_!RELEASE_NAME!"
"!ERLSRV!" add "!REL_SERVICE!" -!RELEASE_DISTRIBUTION! "!RELEASE_NODE!" !REL_ENV! ^
  -args "-setcookie !RELEASE_COOKIE! -config ""!RELEASE_SYS_CONFIG!"" @@MODE@@ !RELEASE_MODE! -boot ""!REL_VSN_DIR!\start"" -boot_var RELEASE_LIB ""!RELEASE_ROOT!\lib"" -args_file ""!REL_VSN_DIR!\vm.args"""
if errorlevel 1 (exit /B 1)
echo Service installed but not started. From now on, it must be started and stopped by erlsrv:
echo.
for %%A in (start stop remove) do echo     !ERLSRV! %%A !REL_SERVICE!
for %%A in (list help) do echo     !ERLSRV! %%A
echo.
exit /B 0

:command_help
call :usage
exit /B 0

rem What follows is called by the commands above; each ends with a status.

:need_rpc
call :need_connection || exit /B 1
call :name_node "rpc-!RANDOM!-!RELEASE_NODE!"
set REL_RPC=--hidden --cookie "!RELEASE_COOKIE!" !REL_NODE_FLAG! ^
  --boot "!REL_VSN_DIR!\!RELEASE_BOOT_SCRIPT_CLEAN!" ^
  --boot-var RELEASE_LIB "!RELEASE_ROOT!\lib" ^
  --vm-args "!RELEASE_REMOTE_VM_ARGS!"
exit /B 0

:name_node
set "REL_NODE_FLAG="
if not "!RELEASE_DISTRIBUTION!" == "none" (set REL_NODE_FLAG=--!RELEASE_DISTRIBUTION! "%~1")
exit /B 0

:need_connection
if "!RELEASE_DISTRIBUTION!" == "none" (
  echo ERROR: RELEASE_DISTRIBUTION is none: the running system cannot be reached 1>&2
  exit /B 1
)
call :need_cookie existing
exit /B

:need_sys_config
findstr "RUNTIME_CONFIG=true" "!RELEASE_SYS_CONFIG!.config" >nul 2>&1 || exit /B 0
set "DEFAULT_SYS_CONFIG=!RELEASE_SYS_CONFIG!"
set "RELEASE_SYS_CONFIG=!RELEASE_TMP!\!RELEASE_NAME!-!RELEASE_VSN!-!RANDOM!-!RANDOM!.runtime"
mkdir "!RELEASE_TMP!" >nul 2>&1
copy /y "!DEFAULT_SYS_CONFIG!.config" "!RELEASE_SYS_CONFIG!.config" >nul && exit /B 0
echo ERROR: Cannot start release because it could not write "!RELEASE_SYS_CONFIG!.config". Set RELEASE_TMP to a folder that can be written to 1>&2
exit /B 1

:need_cookie
if defined RELEASE_COOKIE (exit /B 0)
if not exist "!COOKIE_FILE!" if "%~1" == "existing" (
  echo ERROR: there is no cookie to reach !RELEASE_NODE! with: !COOKIE_FILE! is made when the system is first started. If it was started with RELEASE_COOKIE, set RELEASE_COOKIE to the same value 1>&2
  exit /B 1
)
if not exist "!COOKIE_FILE!" (call :make_cookie)
if not exist "!COOKIE_FILE!" (
  echo ERROR: could not make !COOKIE_FILE!. Set RELEASE_COOKIE, or make the folder writable for the first start 1>&2
  exit /B 1
)
set /p RELEASE_COOKIE=<"!COOKIE_FILE!"
if defined RELEASE_COOKIE (exit /B 0)
echo ERROR: !COOKIE_FILE! is empty. Remove it so that it is made again, or set RELEASE_COOKIE 1>&2
exit /B 1

rem 32 random bytes in base32, moved to the name when complete: a move fails when another start was faster.
:make_cookie
set "REL_PS=$bytes = New-Object byte[] 32;"
set "REL_PS=!REL_PS! [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($bytes);"
set "REL_PS=!REL_PS! $bits = (-join ($bytes | ForEach-Object { [Convert]::ToString($_, 2).PadLeft(8, '0') })).PadRight(260, '0');"
set "REL_PS=!REL_PS! $digits = 0..51 | ForEach-Object { 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[[Convert]::ToInt32($bits.Substring($_ * 5, 5), 2)] };"
set "REL_PS=!REL_PS! $draft = $env:COOKIE_FILE + '.' + $PID;"
set "REL_PS=!REL_PS! [IO.File]::WriteAllText($draft, (-join $digits) + '====');"
set "REL_PS=!REL_PS! try { [IO.File]::Move($draft, $env:COOKIE_FILE) } finally { [IO.File]::Delete($draft) }"
powershell -NoProfile -NonInteractive -Command "!REL_PS!" >nul 2>&1
exit /B 0

:usage
echo Usage: !RELEASE_PROG! COMMAND [ARGS]
echo.
echo Commands that start the system:
echo.
echo     start            Starts the system (also: foreground)
echo     start_iex        Starts the system with IEx attached (also: console)
echo     install          Installs this system as a Windows service
echo.
echo Commands for the running system:
echo.
echo     remote           Connects to it via a remote shell (also: remote_console)
echo     rpc "EXPR"       Executes the given expression on it
echo     ping             Prints pong when it can be reached
echo     pid              Prints its operating system PID
echo     restart          Restarts it without ending the operating system process
echo     stop             Stops it
echo.
echo Commands that need no running system:
echo.
echo     eval "EXPR"      Executes the given expression on a new, non-booted system; what follows is System.argv()
echo     version          Prints the name and the version to be started
echo     describe         Prints what the release is made of and how it would be started
echo     help             Prints this text
exit /B 0
