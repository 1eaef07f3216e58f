//! Every key of the configuration file, its default and what it means: the one list behind the template, the documentation and the
//! search for unknown keys.

mod lists;
mod unknown;
mod written;

pub(super) use unknown::refuse_unknown;
pub use written::{document, template};

/// One table of the file.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// One key: name, default as TOML (empty: none), explanation.
#[derive(Debug)]
pub struct Key(pub &'static str, pub &'static str, pub &'static str);

const LIMIT: &[Key] = &[
    Key("memory", "", "Memory of the whole jail, for example \"2GiB\"; 0 is no limit."),
    Key("swap", "", "Swap on top of that; none if it is not set."),
    Key("processes", "", "Processes and threads."),
    Key("cpus", "", "Processors (1.5 is one and a half); 0 is no limit."),
    Key("io_weight", "", "Share of a busy disk, 1 to 10000; everybody has 100."),
    Key("descriptors", "", "Open files of one process."),
    Key("tmp", "", "Size of /tmp."),
    Key("shm", "", "Size of /dev/shm."),
    Key("files", "", "Files in each of the two."),
    Key("file", "", "The largest file that may be written."),
    Key("wall", "", "How long the jail may live, for example \"8h\"; 0 is for ever."),
];
const TOGETHER: &[Key] = &[
    Key("memory", "", "Memory of all jails of a user together."),
    Key("processes", "", "Processes and threads."),
    Key("cpus", "", "Processors; 0 is no limit."),
    Key("io_weight", "", "Share of a busy disk, 1 to 10000; everybody has 100."),
    Key(
        "disk",
        "",
        "Size of the home. Held by a project quota where the file system has them, else watched; `carrel check` says which.",
    ),
    Key("disk_files", "", "Files in the home."),
];

const CLASSIC: &[Key] = &[
    Key("enabled", "false", "Whether anybody may have one."),
    Key("users", "[]", "Who may; with neither users nor groups everybody."),
    Key("groups", "[]", "Groups whose members may."),
    Key(
        "environment",
        "",
        "The Python environment with jupyterhub-singleuser; normally the one that the installation makes, <prefix>/share/classic.",
    ),
    Key(
        "paths",
        "[]",
        "Other folders that it needs, shown read-only: its interpreter's, if that is not below /usr.",
    ),
    Key("arguments", "[]", "Further arguments of jupyterhub-singleuser."),
    Key("start_seconds", "90", "How long it may take until it answers."),
    Key("activity_seconds", "300", "How often it reports that it is used."),
    Key("idle_seconds", "0", "End servers that were not used for this long; 0 is never."),
];

const NETWORK: &[Key] = &[
    Key("user", "\"carrel-proxy\"", "The user that the proxy runs as when Carrel is started by root."),
    Key(
        "ask",
        "\"\"",
        "Whom those who were refused may ask; shown with the refusal. Empty: their administrator.",
    ),
    Key("connections", "64", "Connections of one user at once."),
    Key("requests_per_minute", "1200", "Connections that one user may ask for in a minute, allowed or not."),
    Key("traffic_per_hour", "\"20GiB\"", "Bytes of one user in an hour, both ways together; 0 is no bound."),
    Key("idle_seconds", "300", "A connection that is silent for this long is closed."),
    Key("connection_seconds", "43200", "A connection is closed after this long, whatever it does."),
];

/// All plain tables, in the order of the template.
pub const TABLES: &[Table] = &[
    Table {
        name: "gateway",
        about: "Where the gateway listens and as whom it runs.",
        keys: &[
            Key(
                "host",
                "\"127.0.0.1\"",
                "Address to listen on. Put an HTTPS proxy in front before you open it to a network.",
            ),
            Key("port", "8000", "Port to listen on; 0 takes a free one."),
            Key(
                "user",
                "\"carrel\"",
                "The user that a gateway started by root becomes. A user that does not exist is taken as a number, else as uid 1500.",
            ),
            Key(
                "https",
                "false",
                "Set it when browsers reach the gateway over HTTPS only: cookies are then marked Secure.",
            ),
            Key("threads", "0", "Threads that answer requests; 0 is one per processor, at most 8."),
            Key("max_connections", "4096", "Connections at once; more wait."),
            Key("max_body", "\"32MiB\"", "Largest request body, except files."),
            Key("drain_seconds", "5", "How long requests may take to finish when the gateway ends."),
        ],
    },
    Table {
        name: "log",
        about: "What is logged, to standard error.",
        keys: &[
            Key(
                "format",
                "\"auto\"",
                "\"pretty\", \"json\", or \"auto\": readable at a terminal, JSON otherwise.",
            ),
            Key("level", "\"info\"", "error, warn, info, debug or trace."),
        ],
    },
    Table {
        name: "paths",
        about: "Where things lie. The state folder is the one that holds this file.",
        keys: &[
            Key(
                "prefix",
                "",
                "Programs and JupyterLab's files; normally the folder above the `bin` that carrel runs from.",
            ),
            Key(
                "runtime",
                "",
                "Sockets and jails; normally /run/carrel/… for root, $XDG_RUNTIME_DIR/carrel/… for others.",
            ),
        ],
    },
    Table {
        name: "auth",
        about: "Local accounts.",
        keys: &[
            Key("login_days", "14", "Days until a browser must sign in again."),
            Key(
                "first_users",
                "true",
                "Make the users admin and demo at the first start, and print their passwords once.",
            ),
            Key("tries_per_name", "8", "Wrong passwords for one name before it must wait."),
            Key("tries_per_address", "40", "Wrong passwords from one address before it must wait."),
            Key("wait_seconds", "60", "How long it waits."),
            Key("min_password", "8", "Shortest password that may be set."),
        ],
    },
    Table {
        name: "hub",
        about: "The Hub.",
        keys: &[
            Key("named_servers", "3", "Named servers that a user may have besides the default one."),
            Key("page_default", "50", "Entries of an API list if the caller asks for no number."),
            Key("page_max", "200", "The most entries of an API list."),
            Key("default_path", "\"lab\"", "Where /user/{name}/ leads."),
            Key(
                "service_hosts",
                "[]",
                "Hosts, beside this machine, on which services made through the API may lie; what [[service]] names may lie anywhere.",
            ),
        ],
    },
    Table {
        name: "kernels",
        about: "Kernels. Which there are is read from the prefix, share/kernels/*/kernel.json.",
        keys: &[
            Key("default", "\"carrel\"", "The kernel that new notebooks get."),
            Key("per_user", "20", "Kernels that one user may run at once."),
            Key(
                "idle_seconds",
                "0",
                "End kernels that have neither work nor a browser for this long; 0 is never.",
            ),
        ],
    },
    Table {
        name: "sandbox",
        about: "How jails are built. Changes take effect after `carrel stop`.",
        keys: &[
            Key(
                "mode",
                "\"auto\"",
                "\"root\", \"userns\", or \"auto\": root for root, userns for others. \"degraded\" (no namespaces) must be named.",
            ),
            Key(
                "required",
                "[]",
                "Layers without which no jail starts; empty takes all that the mode can give on an ordinary kernel.",
            ),
            Key("uid_base", "200000", "The first uid given to users in mode root."),
            Key("uid_count", "60000", "How many uids may be given."),
            Key("max_jails", "2000", "Jails at once."),
            Key(
                "devices",
                "[]",
                "Device nodes that kernels of the profile kernel+gpu see, for example [\"/dev/nvidiactl\", \"/dev/nvidia0\", \"/dev/nvidia-uvm\"].",
            ),
        ],
    },
    Table {
        name: "limits.kernel",
        about: "Bounds of one kernel. What is not set keeps the sandbox's default.",
        keys: LIMIT,
    },
    Table { name: "limits.desk", about: "Bounds of one user's file and terminal helper.", keys: LIMIT },
    Table { name: "limits.engine", about: "Bounds of one kernel's data engine.", keys: LIMIT },
    Table {
        name: "limits.classic",
        about: "Bounds of one classic server: the server, its kernels and its terminals together.",
        keys: LIMIT,
    },
    Table { name: "limits.service", about: "Bounds of one service with a command.", keys: LIMIT },
    Table { name: "limits.together", about: "Bounds of all jails of one user together.", keys: TOGETHER },
    Table {
        name: "classic",
        about: "Full Python servers: an unmodified jupyterhub-singleuser in one jail, for those who ask for one (docs/operators-guide.md).",
        keys: CLASSIC,
    },
    Table {
        name: "hdfs",
        about: "A cluster that is read through the broker, as the user who asks (docs/broker.md). Without `config` there is none.",
        keys: &[
            Key("config", "", "The folder with core-site.xml and hdfs-site.xml."),
            Key(
                "principal",
                "",
                "Who Carrel is to the cluster, for example \"carrel-broker/host@REALM\"; hadoop.proxyuser there must let it act for others.",
            ),
            Key("keytab", "", "Its keytab: owned by `user`, mode 0400."),
            Key("krb5", "", "krb5.conf, if it is not /etc/krb5.conf."),
            Key(
                "user",
                "\"carrel-broker\"",
                "The user that the broker runs as when Carrel is started by root.",
            ),
            Key("timeout_seconds", "60", "How long the cluster may be silent before a statement fails."),
            Key(
                "never",
                "[\"hdfs\", \"yarn\", \"mapred\", \"hive\", \"hbase\", \"spark\", \"root\"]",
                "Names on the cluster that nobody is read as, whatever the users of Carrel are called.",
            ),
        ],
    },
    Table {
        name: "hdfs.users",
        about: "Users whose name on the cluster is another one: \"ada@example.org\" = \"ada\". Everybody else is read by the own name.",
        keys: &[],
    },
    Table {
        name: "network",
        about: "The proxy through which kernels of the profile kernel+proxy reach what [[allow]] lists; it runs if there is an [[allow]].",
        keys: NETWORK,
    },
    Table {
        name: "network.hosts",
        about: "Addresses of names, in place of what the resolver says: \"pypi.internal\" = [\"10.1.2.3\"]. They may be private.",
        keys: &[],
    },
    Table {
        name: "engine",
        about: "The data engine.",
        keys: &[
            Key(
                "memory_limit",
                "\"1GiB\"",
                "Memory that the queries of one session may use together; more spills to disk or fails.",
            ),
            Key("spill_limit", "\"8GiB\"", "Disk that spilling may use."),
            Key("tables_limit", "\"8GiB\"", "Disk that session tables may use together."),
            Key("batch_size", "8192", "Rows per batch."),
            Key("max_result_rows", "0", "A result with more rows ends with an error; 0 is no limit."),
            Key("threads", "0", "Threads per running query; 0 is one per processor."),
            Key(
                "concurrent_queries",
                "4",
                "Queries of one session that compute at the same time; more wait.",
            ),
            Key(
                "idle_seconds",
                "600",
                "The engine ends after this long without work and comes back with the next query; 0 is never.",
            ),
        ],
    },
];
