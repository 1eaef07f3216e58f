//! `carrel user` and `carrel token`: straight on the database, whether the gateway runs or not.

use super::Place;
use crate::accounts;
use crate::clock::{Clock, iso};
use crate::config::Config;
use crate::start::{self, Fatal, privileges};
use carrel_hub::token::{api_id, parse_api_id};
use carrel_hub::{Scope, ScopeSet, Secret, UserName, Whose, role::Role};
use carrel_store::{NewToken, Store, TokenOwner, User};
use clap::{Args, Subcommand};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use time::Duration;

/// `carrel user …`
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user. Without --password-stdin a password is made and printed once.
    Add(Add),
    /// List users.
    List(Place),
    /// Delete a user. The home folder stays.
    Delete(Named),
    /// Change a password. All of the user's browsers must sign in again.
    Passwd(Passwd),
    /// Make a user an administrator, or with --off an ordinary user.
    Admin(Admin),
}

/// `carrel token …`
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, once.
    Create(Create),
    /// List a user's tokens.
    List(Named),
    /// Revoke a token.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    place: Place,
    /// The user's name
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    named: Named,
    /// Make an administrator
    #[arg(long)]
    admin: bool,
    /// Read the password from standard input (one line)
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Passwd {
    #[command(flatten)]
    named: Named,
    /// Read the password from standard input (one line)
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Admin {
    #[command(flatten)]
    named: Named,
    /// Take the role away
    #[arg(long)]
    off: bool,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    named: Named,
    /// What it is for
    #[arg(long, default_value = "made with carrel token create")]
    note: String,
    /// Seconds until it ends
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u32>,
    /// A scope; may be given several times. Without any it can do all that the user can.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    named: Named,
    /// The token's id, such as a12
    id: String,
}

pub(super) fn user(command: UserCommand) -> Result<ExitCode, Fatal> {
    let now = Clock::system().now();
    match command {
        UserCommand::Add(args) => {
            let (config, mut store) = open(&args.named.place)?;
            let name = UserName::parse(&args.named.name).map_err(Fatal::usage)?;
            let (password, made) = password(&config, args.password_stdin)?;
            let hash = accounts::hash(&password).map_err(Fatal::internal)?;
            let added = store.add_users(std::slice::from_ref(&name), args.admin, now)?;
            let user = added
                .into_iter()
                .next()
                .ok_or_else(|| Fatal::usage(format!("user {name} exists already")))?;
            store.set_password_hash(user.id, &hash, now)?;
            println!("user {name} is added{}", if args.admin { " as administrator" } else { "" });
            tell(made, &password);
        }
        UserCommand::List(place) => {
            let (_, store) = open(&place)?;
            for u in store.users()? {
                let seen = u
                    .last_activity
                    .map_or_else(|| "never seen".to_owned(), |t| format!("last seen {}", iso(t)));
                println!("{:<24} {:<6} {seen}", u.name, if u.admin { "admin" } else { "user" });
            }
        }
        UserCommand::Delete(args) => {
            let (config, mut store) = open(&args.place)?;
            let user = find(&store, &args.name)?;
            store.delete_user(user.id)?;
            let home = config.state.join("homes").join(&user.folder);
            println!("user {} is deleted; the home folder {} stays", user.name, home.display());
        }
        UserCommand::Passwd(args) => {
            let (config, mut store) = open(&args.named.place)?;
            let user = find(&store, &args.named.name)?;
            let (password, made) = password(&config, args.password_stdin)?;
            let hash = accounts::hash(&password).map_err(Fatal::internal)?;
            store.set_password_hash(user.id, &hash, now)?;
            println!("the password of {} is changed", user.name);
            tell(made, &password);
        }
        UserCommand::Admin(args) => {
            let (_, mut store) = open(&args.named.place)?;
            let user = find(&store, &args.named.name)?;
            store.change_user(user.id, None, Some(!args.off))?;
            println!("{} is {} administrator", user.name, if args.off { "no longer" } else { "now" });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn token(command: TokenCommand) -> Result<ExitCode, Fatal> {
    let now = Clock::system().now();
    match command {
        TokenCommand::Create(args) => {
            let (config, mut store) = open(&args.named.place)?;
            let user = find(&store, &args.named.name)?;
            let scopes: Vec<Scope> = args
                .scopes
                .iter()
                .map(|s| Scope::parse(s).map_err(Fatal::usage))
                .collect::<Result<_, _>>()?;
            let (roles, groups) = (config.roles(), store.groups_of(user.id)?);
            let held = roles.held_by_user(user.name.as_str(), user.admin, &groups);
            let wanted = ScopeSet::resolve(&scopes, Whose::of_user(user.name.as_str()));
            if let Some(beyond) = held.first_beyond(&wanted, &|_, _| false) {
                return Err(Fatal::usage(format!("{} does not hold {beyond}", user.name)));
            }
            let scopes = if scopes.is_empty() { Role::Token.scopes() } else { scopes };
            let secret = Secret::from_random(rand::random());
            store.add_token(&NewToken {
                owner: TokenOwner::User(user.id),
                hash: secret.hash(),
                prefix: secret.prefix(),
                scopes: scopes.iter().map(ToString::to_string).collect(),
                note: args.note,
                created: now,
                expires: args.expires_in.map(|s| now + Duration::seconds(s.into())),
                session_id: None,
                client: "carrel".into(),
                client_id: None,
            })?;
            println!("{}", secret.reveal());
        }
        TokenCommand::List(args) => {
            let (_, store) = open(&args.place)?;
            let user = find(&store, &args.name)?;
            for t in store.tokens_of(user.id, now)? {
                let expires = t.expires.map_or_else(|| "never".to_owned(), iso);
                println!(
                    "{:<6} {}…  expires {expires}  {}  {}",
                    api_id(t.id),
                    t.prefix,
                    t.scopes.join(","),
                    t.note
                );
            }
        }
        TokenCommand::Revoke(args) => {
            let (_, mut store) = open(&args.named.place)?;
            let user = find(&store, &args.named.name)?;
            let id =
                parse_api_id(&args.id).ok_or_else(|| Fatal::usage(format!("{} is no token id", args.id)))?;
            if !store.delete_token(user.id, id)? {
                return Err(Fatal::usage(format!("{} has no token {}", user.name, args.id)));
            }
            println!("token {} is revoked", args.id);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The database, opened as the gateway's user so that its files stay the gateway's.
fn open(place: &Place) -> Result<(Config, Store), Fatal> {
    let config = place.config()?;
    let (me, _) = start::prepare(&config)?;
    privileges::drop(me)?;
    let store = Store::open(&config.database())?;
    Ok((config, store))
}

fn find(store: &Store, name: &str) -> Result<User, Fatal> {
    let name = UserName::parse(name).map_err(Fatal::usage)?;
    store.user(&name)?.ok_or_else(|| Fatal::usage(format!("there is no user {name}")))
}

/// The password from standard input, or a fresh one that must be told.
fn password(config: &Config, stdin: bool) -> Result<(String, bool), Fatal> {
    if !stdin {
        return Ok((accounts::random_password(), true));
    }
    if std::io::stdin().is_terminal() {
        eprint!("New password: ");
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Fatal::usage(format!("cannot read the password: {e}")))?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    match accounts::objection(&password, config.auth.min_password) {
        Some(why) => Err(Fatal::usage(why)),
        None => Ok((password, false)),
    }
}

fn tell(made: bool, password: &str) {
    if made {
        println!("password (shown once): {password}");
    }
}
