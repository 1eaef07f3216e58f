//! Tables that may be there several times, and tables whose keys the administrator names.

/// Repeated tables and their keys.
pub(super) const LISTS: &[(&str, &[&str])] = &[
    (
        "limit",
        &[
            "user",
            "group",
            "of",
            "memory",
            "swap",
            "processes",
            "cpus",
            "io_weight",
            "descriptors",
            "tmp",
            "shm",
            "files",
            "file",
            "wall",
            "disk",
            "disk_files",
        ],
    ),
    ("role", &["name", "scopes", "users", "groups", "services"]),
    (
        "service",
        &[
            "name",
            "url",
            "command",
            "paths",
            "environment",
            "token_file",
            "token_env",
            "admin",
            "display",
            "info",
            "oauth_client_id",
            "oauth_redirect_uri",
            "oauth_client_allowed_scopes",
            "oauth_no_confirm",
        ],
    ),
    ("allow", &["hosts", "user", "group", "addresses"]),
    ("profile", &["name", "kernel", "user", "group"]),
    ("catalog", &["name", "path", "description", "owner"]),
    ("dataset", &["name", "path", "format", "description", "owner"]),
];

/// Tables whose keys are names that the administrator gives.
pub(super) const FREE: &[&str] = &["hdfs.users", "network.hosts", "service.info", "service.environment"];

/// How repeated tables look, in the template and in the documentation.
pub(super) const LISTS_TEXT: &str = r#"
# Bounds that a user or a group of the Hub has instead of those above, any number of times. Of several groups the most generous bound counts; a
# user's own ones come before those. `carrel limits apply` brings changes here and in [limits.*] to the jails that run.
#
# [[limit]]
# group = "ml"                       # or user = "ada"
# of = "kernel"                      # kernel, desk, engine, classic or together
# memory = "16GiB"
#
# Hosts that kernels of the profile kernel+proxy may reach, any number of times; without a port 443 is meant, ":*" is all ports. A name that leads to a
# private, loopback, link-local or metadata address is refused unless `addresses` has its network, [network.hosts] gives it, or the address itself is
# listed. A changed list holds, also for kernels that run, as soon as the gateway has been started again.
#
# [[allow]]
# hosts = ["packages.example", "data.files.example", "*.conda.example", "debian.example:80"]
#
# [[allow]]
# group = "ml"                       # or user = "ada"; neither is everybody
# hosts = ["*.corp.example:8443", "10.0.0.5:5432"]
# addresses = ["10.0.0.0/8"]
#
# Which kernels have which profile: "kernel" (no network at all, the default), "kernel+proxy", "kernel+gpu" (with sandbox.devices) or
# "kernel+proxy+gpu". All that a rule names must fit; the first that fits counts, before "metadata": {"carrel": {"profile": …}}
# in kernel.json. A kernel has the profile with which it was started.
#
# [[profile]]
# name = "kernel+proxy"
# kernel = "python3"                 # a kernelspec; without it every kernel
# group = "ml"                       # or user = "ada"; neither is everybody
#
# Services: programs beside the hub that it knows by name (docs/operators-guide.md, "Services"), any number of times. Pages below /services/NAME/
# come from `url`; whoever starts the program gives it the same token and, if people sign in there, oauth_redirect_uri.
#
# [[service]]
# name = "grader"                    # letters, digits, dots, hyphens and underscores
# url = "http://127.0.0.1:10101"     # only if it has pages
# token_file = "/etc/carrel/grader.token"   # read at the start, not for everybody to read; or token_env = "GRADER_TOKEN"
# admin = false                      # true: it may do everything; better a [[role]] with what it needs
# display = true                     # shown on the home page to those who may use it
# info = { contact = "teachers@example.org" }
# oauth_client_id = "service-grader"
# oauth_redirect_uri = "/services/grader/oauth_callback"   # or a whole address elsewhere
# oauth_client_allowed_scopes = []   # what it may ask people for besides who they are and access to itself
# oauth_no_confirm = false           # true: people are not asked
#
# With a command Carrel starts the service itself, in a jail without a network but the Hub's API, under an account of its own, and again when it ends.
# It then has no token_file: Carrel gives it a token, and what JupyterHub gives its managed services, in the environment. `url` is where it listens in there.
#
# [[service]]
# name = "idle-culler"
# command = ["{prefix}/share/classic/bin/python", "-m", "jupyterhub_idle_culler", "--timeout=3600"]
# paths = []                         # other folders that it needs; the environment of a Python below {prefix} or elsewhere is found
# environment = { TZ = "Europe/Berlin" }
#
# Roles: scopes for users, members of groups and services, any number of times. A role called user, token or server takes the place of the
# default one; the role user is everybody's.
#
# [[role]]
# name = "user"
# scopes = ["self", "access:services!service=grader"]
#
# [[role]]
# name = "grading"
# scopes = ["list:users", "read:users:name!group=class", "access:servers!group=class"]
# services = ["grader"]
# groups = ["teachers"]
# users = ["ada"]
#
# Data. Every folder below <state>/datasets is a catalog of its own name; folders and files in it are its tables.
# Others are named here, any number of times:
#
# [[catalog]]
# name = "sales"                     # tables are then sales.orders, sales.customers, …
# path = "/srv/data/sales"
# description = "Orders since 2019"
# owner = "data@example.org"
#
# [[dataset]]
# name = "web.clicks"
# path = "/srv/data/clicks.parquet"  # or on the cluster of [hdfs]: "hdfs:///data/clicks"
# format = "parquet"                 # parquet, csv, ndjson, avro or arrow; only needed if the file names do not tell
"#;
