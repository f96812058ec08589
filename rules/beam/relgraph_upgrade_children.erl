%% Instructions of relups for what OTP has none for: children of supervisors whose specifications are no function of a module, and
%% consolidated protocols that are in no application.
-module(relgraph_upgrade_children).

-export([change/1, protocols/2]).

change(_) -> throw({relgraph_upgrade, "later"}).
protocols(_, _) -> throw({relgraph_upgrade, "later"}).
