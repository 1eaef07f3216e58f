//! The same caller once more: for what outlives the request that somebody made.

use super::{Caller, Inner, Look, Via, of_login, with_owner};
use crate::app::App;
use crate::error::Result;
use std::sync::Arc;

/// Who a caller is by now, with what they hold by now; nobody if the credential has ended.
pub async fn again(app: &App, caller: &Caller) -> Result<Caller> {
    let now = app.clock.now();
    match caller.via() {
        Via::Nobody => Ok(Caller(Arc::new(Inner::default()))),
        Via::Login(login) => {
            let id = login.id;
            match app.store.call(move |s| s.login_by_id(id, now)).await? {
                Some(login) => of_login(app, login).await,
                None => Ok(Caller::nobody()),
            }
        }
        Via::Token(token) => {
            let (id, look) = (token.id, Look::of_token(app));
            let found = app
                .store
                .call(move |s| match s.token_by_id(id, now)? {
                    Some(token) => with_owner(s, token, look),
                    None => Ok(None),
                })
                .await?;
            super::of_token(app, found).await
        }
    }
}
