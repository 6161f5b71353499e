//! What the configuration says of a registry that speaks HTTP, as its client wants to hear it.

use http::HeaderName;

use crate::config::registries::http::{self as config, Connection, ServerAddress};
use crate::registry::http::settings::{
    Address, AddressError, Credentials, IdentityFiles, Limits, Settings, TlsFiles,
};

/// The settings for a client that asks `addresses`. A token is shown in `token_header`, or, without one, as a bearer's.
///
/// # Errors
/// What the configuration took for an address is none.
pub(super) fn settings(
    addresses: &[ServerAddress],
    connection: &Connection,
    token_header: Option<HeaderName>,
) -> Result<Settings, AddressError> {
    let config::TlsFiles { ca, identity, server_name } = connection.tls.clone();
    let config::Limits { connect, read, whole, body } = connection.limits;
    Ok(Settings {
        addresses: addresses.iter().map(|a| Address::parse(a.reveal())).collect::<Result<_, _>>()?,
        tls: TlsFiles { ca, identity: identity.map(|(cert, key)| IdentityFiles { cert, key }), server_name },
        credentials: match connection.credentials.clone() {
            config::Credentials::None => Credentials::None,
            config::Credentials::Token(token) => match token_header {
                Some(header) => Credentials::Header(header, token),
                None => Credentials::Bearer(token),
            },
            config::Credentials::Basic(user, password) => Credentials::Basic(user, password),
        },
        limits: Limits { connect, read, whole, body },
    })
}
