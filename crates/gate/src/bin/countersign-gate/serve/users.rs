//! Users of this machine, by name or by number.

use std::fs;

use countersign_gate::instance::deploy::User;

/// The user with this name in `/etc/passwd`, or with this `UID:GID`.
pub(crate) fn find(name: &str) -> Option<User> {
    if let Some((uid, gid)) = name.split_once(':') {
        return Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? });
    }
    in_passwd(&fs::read_to_string("/etc/passwd").ok()?, name)
}

fn in_passwd(passwd: &str, name: &str) -> Option<User> {
    let mut fields = passwd.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let is_it = fields.next() == Some(name);
        is_it.then_some(fields)
    })?;
    let _password = fields.next()?;
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name_or_by_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ndeploy:x:1001:1002::/home/deploy:/bin/sh\n";
        assert_eq!(in_passwd(passwd, "deploy"), Some(User { uid: 1001, gid: 1002 }));
        assert_eq!((in_passwd(passwd, "dep"), in_passwd(passwd, "")), (None, None));
        assert_eq!(find("7:8"), Some(User { uid: 7, gid: 8 }));
        assert_eq!(find("7:"), None);
    }
}
