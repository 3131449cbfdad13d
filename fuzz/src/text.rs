//! Text that people write: addresses and secrets.

use plurix::net::{Address, Secret};

pub(crate) fn check(bytes: &[u8]) {
    assert_eq!(Secret::new(bytes).is_ok(), bytes.len() >= 16);
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Address>() {
        Ok(address) => {
            let shown = address.to_string();
            assert_eq!(shown.parse(), Ok(address), "{shown:?} is read back");
        }
        Err(error) => assert!(error.to_string().contains(text), "the error names the text"),
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        ("ip4", "127.0.0.1:7700"),
        ("ip6", "[::1]:7700"),
        ("name", "node-1:80"),
        ("unix", "unix:/run/plurix.sock"),
        ("path", "./plurix.sock"),
    ];
    texts
        .map(|(name, text)| (name, text.as_bytes().to_vec()))
        .to_vec()
}
