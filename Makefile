# Both install what they need from Debian's packages, after saying what that is.

.PHONY: demo test test-real test-runtimes check

# Builds relgraph and examples/sequence, boots the release, asks it for a number, stops it.
demo:
	@scripts/demo.sh

# All checks and all tests.
test:
	@scripts/test.sh

# Builds RabbitMQ, ejabberd and parts of Elixir from Debian's source packages, boots them and asks them.
test-real:
	@scripts/test-real.sh

# Runs tests with the Erlang and Elixir of other releases of Debian.
test-runtimes:
	@scripts/test-runtimes.sh

# Formatting and lints only.
check:
	@scripts/check.sh
