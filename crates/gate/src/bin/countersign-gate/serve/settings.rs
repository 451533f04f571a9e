//! The server's settings: options, then environment variables, then the configuration file, then defaults.

use std::{
    collections::BTreeMap,
    env, io,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign::{
    service::supports,
    store::{postgres::PostgresOptions, sql::Cas, sqlite::SqliteOptions},
};
use countersign_gate::{
    http::{self, Flows, IdentityProvider, IdentitySettings, TrustedHeader},
    instance::{
        deploy::{CommandLine, DeployMethod, DryRun},
        notify::{Channel, Folder, InvalidWebhook, PATIENCE, Retries, Sender, Smtp, Webhook},
        operators::Operators,
        system_clock::{Secret, SystemClock},
        workers::WorkerSettings,
    },
};
use humantime::format_duration;
use toml::Spanned;
use uuid::Uuid;

use super::{
    config::{Config, DeployerTable, File, HttpTable, IdentityTable, NotifierTable},
    folders::folder_or_its_parent,
    leases::{lease, worker_lease},
    secrets,
    tenants::Tenants,
    users,
    values::{From, Listen, MailAddress, Pause, PublicUrl, StoreAddress, Text, Time},
};
use crate::args::{Contention, LogFormat, ServeArgs};
use countersign_terminal::{BadInput, input, input::closest};

/// The server's settings.
pub(crate) struct Settings {
    pub(crate) store: StoreSettings,
    pub(crate) listen: Listen,
    /// Of probes and metrics, if they have their own.
    pub(crate) probe_listen: Option<Listen>,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) order: Order,
    pub(crate) secret: Secret,
    /// Those that it has replaced, the latest first.
    pub(crate) earlier_secrets: Vec<Secret>,
    pub(crate) identity: Option<Arc<IdentityProvider>>,
    /// The secret was given as an option or in the environment.
    pub(crate) secret_is_exposed: bool,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) method: DeployMethod,
    pub(crate) notifier: NotifierSettings,
    pub(crate) workers: WorkerSettings,
    pub(crate) drain: Duration,
    pub(crate) http: http::Settings,
    pub(crate) log: LogFormat,
}

/// The store, and how it is used: all that a command needs which does not serve.
pub(crate) struct StoreSettings {
    pub(crate) address: StoreAddress,
    pub(crate) cas: Cas,
    pub(crate) postgres: PostgresOptions,
    /// The longest that a statement waits for another process's lock on a SQLite file.
    pub(crate) busy_timeout: Duration,
}

/// The order of the steps, and whether it is the one to use.
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) flows: Flows,
    pub(crate) is_safe: bool,
}

/// Settings of notifications, before the server's address is known.
pub(crate) struct NotifierSettings {
    way: Way,
    pub(crate) retries: Retries,
}

enum Way {
    Folder { path: PathBuf, sender: Sender },
    Smtp(Smtp),
    Webhook { url: String, secret: String },
}

/// The safe flow, and the same with a lease.
const SAFE_FLOW: &str = "atomic-commit";
const SAFE_FLOW_WITH_LEASE: &str = "atomic-commit-lease";

impl Settings {
    /// All of them, or the first that is wrong.
    pub(crate) fn gather(args: &ServeArgs) -> Result<Self, BadInput> {
        Self::of(args, &Config::of(args)?)
    }

    /// All of them, with the configuration that has been read already.
    pub(crate) fn of(args: &ServeArgs, config: &Config) -> Result<Self, BadInput> {
        let file = &config.file;
        let secret = secret(args, file)?;
        let workers = WorkerSettings::default();
        let earlier_secrets = file
            .earlier_secret_files
            .iter()
            .map(|path| secrets::from_file(path))
            .collect::<Result<Vec<_>, _>>()?;
        let mut method = method(config, &[std::slice::from_ref(&secret), &earlier_secrets].concat())?;
        let store = StoreSettings::of(args, config)?;
        let lease = worker_lease(config, &store, &method)?;
        if let DeployMethod::Command(command) = &mut method {
            command.time_to_clean_up = WorkerSettings::time_to_clean_up(lease);
        }
        let forbid_self_approval =
            args.forbid_self_approval.or(file.forbid_self_approval).unwrap_or_default();
        let operators = operators(args, config, forbid_self_approval)?;
        let public_url =
            args.public_url.clone().or_else(|| file.public_url.as_ref().map(|Text(url)| url.clone()));
        Ok(Self {
            store,
            listen: args
                .listen
                .clone()
                .or_else(|| file.listen.as_ref().map(|Text(listen)| listen.clone()))
                .unwrap_or_else(|| Listen("127.0.0.1:8080".to_owned())),
            probe_listen: file.probe_listen.as_ref().map(|Text(listen)| listen.clone()),
            order: order(args, config)?,
            secret_is_exposed: args.secret.is_some(),
            earlier_secrets,
            identity: identity(config)?,
            tenants: Arc::new(Tenants::new(config, operators)),
            method,
            secret,
            notifier: notifier(args, config)?,
            workers: WorkerSettings {
                count: file.workers.count.map_or(workers.count, |count| usize::from(count.get())),
                lease,
                poll: pause(&file.workers.poll, workers.poll),
            },
            drain: time(&file.drain, Duration::from_secs(10)),
            http: http_settings(config, forbid_self_approval, public_url.as_ref())?,
            public_url,
            log: args.log.or(file.log).unwrap_or_default(),
        })
    }
}

impl StoreSettings {
    pub(crate) fn of(args: &ServeArgs, config: &Config) -> Result<Self, BadInput> {
        let table = &config.file.postgres;
        let (postgres, cas) = (PostgresOptions::default(), strategy(args, config)?);
        let busy_timeout = pause(&config.file.sqlite.busy_timeout, SqliteOptions::default().patience);
        Ok(Self {
            // SQLite counts milliseconds in 32 bits.
            busy_timeout: busy_timeout.min(Duration::from_secs(24 * 60 * 60)),
            address: store(args, config)?,
            cas,
            postgres: PostgresOptions {
                cas,
                schema: table.schema.clone(),
                connections: table.connections.map_or(postgres.connections, NonZeroUsize::from),
                refuse_volatile: !table.allow_data_loss.unwrap_or_default(),
                statement_timeout: time(&table.statement_timeout, postgres.statement_timeout),
                ..postgres
            },
        })
    }
}

impl NotifierSettings {
    /// Where links are sent to, if it is another machine or program.
    pub(crate) fn remote(&self) -> Option<&'static str> {
        match self.way {
            Way::Folder { .. } => None,
            Way::Smtp(_) => Some("the mail server"),
            Way::Webhook { .. } => Some("the webhook"),
        }
    }

    /// The channel of a server that operators reach here.
    pub(crate) fn channel(self, public_url: &str) -> Result<Channel, BadInput> {
        Ok(match self.way {
            Way::Folder { path, sender } => {
                Channel::Folder(Folder::open(&path, sender).map_err(|error| no_mail_folder(&path, &error))?)
            }
            Way::Smtp(smtp) => Channel::Smtp(smtp),
            Way::Webhook { url, secret } => {
                let webhook = Webhook::new(&url, &secret, public_url, Arc::new(SystemClock));
                Channel::Webhook(
                    webhook.map_err(|invalid| {
                        BadInput::plain("the webhook is not safe", &invalid.to_string())
                    })?,
                )
            }
        })
    }
}

fn time(value: &Option<Text<Time>>, default: Duration) -> Duration {
    value.as_ref().map_or(default, |Text(Time(time))| *time)
}

fn pause(value: &Option<Text<Pause>>, default: Duration) -> Duration {
    value.as_ref().map_or(default, |Text(Pause(time))| *time)
}

/// The first of: the option or its variable, the file that an option names, those of the configuration, systemd's.
fn secret(args: &ServeArgs, file: &File) -> Result<Secret, BadInput> {
    if let Some(secret) = &args.secret {
        return Ok(secret.clone());
    }
    if let Some(path) = &args.secret_file {
        return secrets::from_file(path);
    }
    if let Some(Text(secret)) = &file.secret {
        return Ok(secret.0.clone());
    }
    if let Some(path) = &file.secret_file {
        return secrets::from_file(path);
    }
    secrets::from_systemd().unwrap_or_else(|| Err(no_secret()))
}

/// The identity provider, whose keys are read now: without them none of its tokens would be accepted.
fn identity(config: &Config) -> Result<Option<Arc<IdentityProvider>>, BadInput> {
    let Some(table) = &config.file.identity else { return Ok(None) };
    let IdentityTable { issuer, audience, jwks } = table.get_ref();
    let settings =
        IdentitySettings { issuer: issuer.clone(), audience: audience.clone(), jwks: jwks.clone() };
    match IdentityProvider::open(settings) {
        Ok(provider) => Ok(Some(Arc::new(provider))),
        Err(error) => Err(config.problem(
            table.span(),
            &format!("no keys: {error}"),
            "`jwks` with the provider's key set, a file or an https:// address",
        )),
    }
}

fn no_secret() -> BadInput {
    BadInput::plain(
        "there is no secret to sign tokens with and to make links from",
        "give COUNTERSIGN_SECRET_FILE, --secret-file or `secret_file` in the configuration; \
         for a development run: export COUNTERSIGN_SECRET=\"$(head -c 32 /dev/urandom | base64)\"",
    )
}

/// An invalid address is not echoed if it may contain a password.
fn store(args: &ServeArgs, config: &Config) -> Result<StoreAddress, BadInput> {
    let Some(text) = &args.store else {
        let store = config.file.store.as_ref().map(|Text(store)| store.clone());
        return Ok(store.unwrap_or_else(|| StoreAddress::Sqlite("countersign.db".into())));
    };
    text.parse().map_err(|expected: String| {
        let found = if text.contains('@') { "something else" } else { text };
        BadInput::plain(
            &format!("--store: found {found}, {expected}"),
            "the default is sqlite:countersign.db",
        )
    })
}

/// A strategy is written as other names are, with dashes.
pub(crate) fn strategy_name(cas: Cas) -> String {
    cas.as_str().replace('_', "-")
}

fn strategy(args: &ServeArgs, config: &Config) -> Result<Cas, BadInput> {
    let names = Cas::ALL.map(strategy_name);
    let find = |name: &str| Cas::parse(&name.replace('-', "_"));
    let expected = format!("one of {}", names.join(", "));
    if let Some(name) = &args.strategy {
        let close = || {
            closest(name, names.iter().map(String::as_str)).map(|close| format!("did you mean `{close}`?"))
        };
        return find(name).ok_or_else(|| {
            BadInput::plain(
                &format!("found the unknown strategy `{name}`, expected {expected}"),
                &close().unwrap_or_else(|| "the default is conditional-update".to_owned()),
            )
        });
    }
    match &config.file.strategy {
        Some(name) => {
            find(name.get_ref()).ok_or_else(|| config.problem(name.span(), "an unknown strategy", &expected))
        }
        None => Ok(Cas::default()),
    }
}

fn order(args: &ServeArgs, config: &Config) -> Result<Order, BadInput> {
    let name = args.flow.as_deref().or(config.file.flow.as_deref()).unwrap_or(SAFE_FLOW);
    let contention = args.contention.or(config.file.contention).unwrap_or_default();
    if name == SAFE_FLOW {
        let (name, flows) = match contention {
            Contention::Optimistic => (SAFE_FLOW, Flows::atomic_commit()),
            Contention::Lease => (SAFE_FLOW_WITH_LEASE, Flows::atomic_commit_lease()),
        };
        return Ok(Order { name: name.to_owned(), flows, is_safe: true });
    }
    if contention == Contention::Lease {
        return Err(BadInput::plain(
            &format!("{name}: a lease was asked for, and this flow has its own order"),
            &format!("with `lease` leave the flow out, or say `{SAFE_FLOW}`"),
        ));
    }
    if !args.allow_unsafe_flow {
        if name == SAFE_FLOW_WITH_LEASE {
            return Err(BadInput::plain(
                &format!("{name}: this flow is not asked for by its name"),
                "`--contention lease` runs it, for stacks and for resources",
            ));
        }
        return Err(BadInput::plain(
            &format!("{name}: this flow is not {SAFE_FLOW}, and nothing vouches for it"),
            "`countersign verify` says what it breaks; --allow-unsafe-flow runs it all the same, to be attacked",
        ));
    }
    let asked = name;
    let input::Named { name, subject, .. } = input::flow(asked)?;
    supports(&subject.flow).map_err(|unsupported| {
        BadInput::plain(
            &format!("{asked}: {unsupported}"),
            "`countersign verify` judges such a flow; the gate runs flows that use a deployment approval once",
        )
    })?;
    Ok(Order { name, flows: Flows { stacks: subject.flow.clone(), twins: subject.flow }, is_safe: false })
}

fn operators(args: &ServeArgs, config: &Config, forbid_self_approval: bool) -> Result<Operators, BadInput> {
    let plain = |addresses: &[Text<MailAddress>]| -> Vec<String> {
        addresses.iter().map(|Text(address)| address.0.clone()).collect()
    };
    let some = |addresses: &Spanned<Vec<Text<MailAddress>>>| match plain(addresses.get_ref()) {
        none if none.is_empty() => {
            Err(config.problem(addresses.span(), "an empty list", "at least one operator"))
        }
        operators => Ok(operators),
    };
    let everywhere = match (&args.operator[..], &config.file.operators) {
        ([], Some(operators)) => some(operators)?,
        ([], None) => vec!["operator@localhost".to_owned()],
        (operators, _) => operators.iter().map(|address| address.0.clone()).collect(),
    };
    let mut of_team = BTreeMap::<Uuid, Vec<String>>::new();
    for tenant in config.file.tenant.iter().map(Spanned::get_ref) {
        if let Some(operators) = &tenant.operators {
            of_team.insert(tenant.team, some(operators)?);
        }
    }
    Ok(Operators { everywhere, of_team, forbid_self_approval })
}

fn method(config: &Config, secrets: &[Secret]) -> Result<DeployMethod, BadInput> {
    let Some(table) = &config.file.deployer else {
        return Ok(DeployMethod::DryRun(DryRun { duration: Duration::from_secs(1), fails: false }));
    };
    let DeployerTable { command, timeout, user, dry_run, fails } = table.get_ref();
    let Some(command) = command else {
        if timeout.is_some() {
            return Err(config.problem(table.span(), "a timeout without a command", "both, or neither"));
        }
        let duration = dry_run.as_ref().map_or(Duration::from_secs(1), |Text(Time(time))| *time);
        return Ok(DeployMethod::DryRun(DryRun { duration, fails: fails.unwrap_or_default() }));
    };
    if dry_run.is_some() || fails.is_some() {
        return Err(config.problem(table.span(), "a command and a pretence", "one of the two"));
    }
    let argv = command.get_ref().clone();
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(config.problem(command.span(), "no command", "a program and its arguments"));
    };
    if !is_program(program) {
        return Err(config.problem(
            command.span(),
            "a command that is not there",
            "a program that can be run",
        ));
    }
    let timeout = timeout.as_ref().map_or(Duration::from_secs(15 * 60), |Text(Time(time))| *time);
    let user = match user {
        None => None,
        Some(name) => Some(users::find(name.get_ref()).ok_or_else(|| {
            config.problem(name.span(), "an unknown user", "a user in /etc/passwd, by name or by UID:GID")
        })?),
    };
    let time_to_clean_up = WorkerSettings::time_to_clean_up(Duration::MAX);
    Ok(DeployMethod::Command(CommandLine {
        argv,
        timeout,
        time_to_clean_up,
        user,
        secrets: secrets.to_vec(),
    }))
}

/// True if this can be executed: a path, or a name in `PATH`.
fn is_program(name: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let can_be_run = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return can_be_run(Path::new(name));
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| can_be_run(&folder.join(name)))
}

fn notifier(args: &ServeArgs, config: &Config) -> Result<NotifierSettings, BadInput> {
    let (empty, nowhere) = (NotifierTable::default(), 0..0);
    let table = config.file.notifier.as_ref();
    let (table, place) = table.map_or((&empty, nowhere), |table| (table.get_ref(), table.span()));
    let NotifierTable {
        folder,
        smtp,
        webhook,
        webhook_secret,
        from,
        retry_after,
        retry_at_most_after,
        lease: asked,
    } = table;
    let ways = [folder.is_some(), smtp.is_some(), webhook.is_some()].into_iter().filter(|way| *way).count();
    if ways > 1 {
        return Err(config.problem(
            place,
            "more than one way to send links",
            "one of folder, smtp and webhook",
        ));
    }
    if webhook.is_some() != webhook_secret.is_some() {
        return Err(config.problem(place, "half a webhook", "webhook and webhook_secret"));
    }
    let sender = match from {
        Some(Text(From(sender))) => sender.clone(),
        None => Sender::parse("countersign <countersign@localhost>")
            .unwrap_or_else(|| unreachable!("this one is an address")),
    };
    let way = match (&args.mail_dir, smtp, webhook, webhook_secret) {
        (Some(path), ..) => mail_folder(path, sender)?,
        (None, Some(url), ..) => Way::Smtp(Smtp::connect(url.get_ref(), sender).map_err(|_| {
            config.problem(
                url.span(),
                "no mail server",
                "smtps://USER:PASSWORD@HOST, smtp://HOST?tls=required, or smtp://HOST?tls=none to send links in clear",
            )
        })?),
        (None, None, Some(url), Some(secret)) => {
            let checked = Webhook::new(url.get_ref(), secret.get_ref(), "", Arc::new(SystemClock));
            match checked.err() {
                None => {}
                Some(invalid @ InvalidWebhook::Url) => {
                    return Err(config.problem(
                        url.span(),
                        "no safe address",
                        without_expected(&invalid.to_string()),
                    ));
                }
                Some(invalid @ InvalidWebhook::Secret) => {
                    return Err(config.problem(
                        secret.span(),
                        "no such secret",
                        without_expected(&invalid.to_string()),
                    ));
                }
            }
            Way::Webhook { url: url.get_ref().clone(), secret: secret.get_ref().clone() }
        }
        (None, None, ..) => {
            let path = folder.as_ref().map_or(Path::new("mail"), |folder| folder.get_ref());
            mail_folder(path, sender)?
        }
    };
    let mut retries = Retries::default();
    retries.first = pause(retry_after, retries.first);
    retries.longest = pause(retry_at_most_after, retries.longest);
    let mut settings = NotifierSettings { way, retries };
    if let Some(asked) = asked {
        let Text(Pause(wanted)) = asked.get_ref();
        // A file is written immediately.
        let shortest = settings.remote().map_or(Duration::ZERO, |_| Retries::SHORTEST_LEASE);
        let why = format!("a delivery may take {}", format_duration(PATIENCE));
        settings.retries.lease = lease(config, asked.span(), *wanted, shortest, &why)?;
    }
    Ok(settings)
}

fn without_expected(text: &str) -> &str {
    text.strip_prefix("expected ").unwrap_or(text)
}

/// Links as files in this folder. It is made when the gate opens.
fn mail_folder(path: &Path, sender: Sender) -> Result<Way, BadInput> {
    folder_or_its_parent(path).map_err(|error| no_mail_folder(path, &error))?;
    Ok(Way::Folder { path: path.to_owned(), sender })
}

fn no_mail_folder(path: &Path, error: &io::Error) -> BadInput {
    BadInput::plain(
        &format!("{}: mails cannot be written to this folder: {error}", path.display()),
        "expected a folder that can be made or written to, as in `--mail-dir mail`",
    )
}

/// Four thousand million are as good as more.
fn many(count: NonZeroU32) -> usize {
    usize::try_from(count.get()).unwrap_or(usize::MAX)
}

fn http_settings(
    config: &Config,
    forbid_self_approval: bool,
    public_url: Option<&PublicUrl>,
) -> Result<http::Settings, BadInput> {
    let table: &HttpTable = &config.file.http;
    let forwarded = table.trust_forwarded.as_ref().filter(|trusts| *trusts.get_ref());
    let trusted_header = match (table.trust_forwarded_for.unwrap_or_default(), forwarded) {
        (false, None) => None,
        (true, None) => Some(TrustedHeader::XForwardedFor),
        (false, Some(_)) => Some(TrustedHeader::Forwarded),
        (true, Some(trusts)) => {
            return Err(config.problem(
                trusts.span(),
                "two headers to trust",
                "the one that the proxy writes: callers can send the other one",
            ));
        }
    };
    let defaults = http::Settings::default();
    let request_time = time(&table.request_time, defaults.request_time);
    let key_lease = match &table.key_lease {
        None => request_time * 2,
        Some(asked) => {
            let Text(Time(wanted)) = asked.get_ref();
            let why = "a request may run for http.request_time under its key";
            lease(config, asked.span(), *wanted, request_time, why)?
        }
    };
    Ok(http::Settings {
        max_body: table.max_body.as_ref().map_or(defaults.max_body, |Text(size)| size.0),
        body_time: time(&table.body_time, defaults.body_time),
        header_time: time(&table.header_time, defaults.header_time),
        write_time: time(&table.write_time, defaults.write_time),
        request_time,
        max_connections: table.max_connections.map_or(defaults.max_connections, many),
        max_under_way: table.max_under_way.map_or(defaults.max_under_way, many),
        max_pending_approvals: table.max_pending_approvals.map_or(defaults.max_pending_approvals, many),
        key_lease,
        page_requests_per_second: table.page_requests_per_second.unwrap_or(defaults.page_requests_per_second),
        max_connections_per_address: table
            .max_connections_per_address
            .map_or(defaults.max_connections_per_address, many),
        max_requests_per_address: table
            .max_requests_per_address
            .map_or(defaults.max_requests_per_address, many),
        max_requests_per_token: table.max_requests_per_token.map_or(defaults.max_requests_per_token, many),
        trusted_header,
        probes_apart: config.file.probe_listen.is_some(),
        forbid_self_approval,
        public_origin: public_url.map(|PublicUrl(url)| url.clone()),
        grace: time(&table.grace, defaults.grace),
    })
}

#[cfg(test)]
mod tests;
