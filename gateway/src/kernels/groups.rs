//! The groups that spawnd is told with a jail, for the bounds that groups have.

use carrel_spawnd::{GroupName, UserName};

use crate::error::Result;
use crate::store::StoreHandle;

/// Those of the user whom spawnd knows by this name. A group that spawnd could not have a rule for is left out.
pub(crate) async fn of(store: &StoreHandle, user: &UserName) -> Result<Vec<GroupName>> {
    let folder = user.to_string();
    let names = store.call(move |store| store.groups_of_folder(&folder)).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
