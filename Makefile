# Both install what they need from Debian's packages, after saying what that is.

.PHONY: demo test check

# Builds relgraph and examples/sequence, boots the release, asks it for a number, stops it.
demo:
	@scripts/demo.sh

# All checks and all tests.
test:
	@scripts/test.sh

# Formatting and lints only.
check:
	@scripts/check.sh
