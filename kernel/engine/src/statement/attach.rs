//! `ATTACH 'hdfs://…' AS name` and `DETACH name`: a place on the cluster that the configuration does not name, for this session.

use carrel_cell::problem::{Ename, Problem, Span};
use carrel_cell::statement::Name;

use crate::output::Output;
use crate::place::unreadable;
use crate::session::Session;

/// Gives a place a name. A folder of data files, or of partitions of them, becomes a table; a folder of folders a schema of tables.
pub(super) async fn attach(
    session: &Session,
    place: &str,
    place_span: Span,
    name: &Name,
) -> Result<Output, Problem> {
    let plain = super::own_name(name)?;
    if session.scratch().entry(plain).is_some() || session.catalog().has(plain) {
        return Err(Problem::new(Ename::AlreadyExists, format!("the name {plain} is taken"))
            .at(name.span)
            .hint("use another name, or DETACH or DROP what has it"));
    }
    let at = place.parse().map_err(|error: carrel_source::LocationError| {
        Problem::new(Ename::BadOption, error.to_string())
            .at(place_span)
            .hint("files of your home need no ATTACH: SELECT * FROM 'file.parquet'")
    })?;
    let kind = session
        .catalog()
        .attach(plain, at)
        .await
        .map_err(|error| unreadable(place, &error).at(place_span))?;
    session.catalog().save(session.scratch())?;
    Output::says("status", format!("{plain} is {kind} now"))
}

/// Takes the name away; the place stays as it is.
pub(super) fn detach(session: &Session, name: &Name, if_exists: bool) -> Result<Output, Problem> {
    let plain = super::own_name(name)?;
    if session.catalog().detach(plain) {
        session.catalog().save(session.scratch())?;
        return Output::says("status", format!("{plain} is detached"));
    }
    if if_exists {
        return Output::says("status", format!("nothing attached is called {plain}"));
    }
    Err(Problem::new(Ename::UnknownDataset, format!("nothing attached is called {plain}"))
        .at(name.span)
        .suggest(plain, session.catalog().attached()))
}
