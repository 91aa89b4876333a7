"""Names of files that may hold secrets. Such a file is not read and not even opened, whatever the settings say."""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import PurePath

SECRETS = (
    # Environments and settings that exist to hold secrets; code has no other place for them, hence also `secrets.py`.
    ".env*", "*.env", ".dev.vars", "secrets.*", "*.secrets", "secret.yaml", "secret.yml", ".secrets", "secrets",
    "credentials", "credentials.*", ".credentials*", "*-credentials.json", "*_credentials.json", "client_secret*.json",
    "service-account*.json", "service_account*.json", "serviceaccount*.json", "wp-config.php",
    # Keys, certificates and the stores that hold them.
    "*.pem", "*.key", "*.cert", "*.crt", "*.cer", "*.der", "*.p7b", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.ppk", "*.gpg", "*.pgp", "*.kdb", "*.kdbx", "*.agilekeychain", "*.keychain", "*.keychain-db", "*.ovpn",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/*", ".gnupg/*", ".password-store/*",
    # Log-ins of tools.
    ".netrc", "_netrc", ".git-credentials", ".npmrc", ".yarnrc*", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd",
    ".dockercfg", ".dockerconfigjson", ".docker/config.json", "kubeconfig", ".kube/config", ".aws/*", ".azure/*",
    ".s3cfg", ".passwd-s3fs", ".boto", ".config/gcloud/*", ".config/gh/hosts.yml", ".m2/settings.xml",
    ".gradle/gradle.properties", ".vault-token", ".vault_pass*", "vault_pass*", ".terraformrc", "terraform.rc",
    "*.tfvars", "*.tfvars.json", "*.tfstate", "*.tfstate.*",
    # What was typed into a terminal.
    ".*_history",
)  # fmt: skip
"""Of lower-case names; one with a slash is matched with the end of the path."""

_EACH = tuple((glob, re.compile(translate(glob if "/" not in glob else f"*/{glob}"))) for glob in SECRETS)
_ANY = re.compile("|".join(f"(?:{regex.pattern})" for glob, regex in _EACH if "/" not in glob))
_ANYWHERE = re.compile("|".join(f"(?:{regex.pattern})" for glob, regex in _EACH if "/" in glob))


def secret_glob(path: PurePath) -> str:
    """The first of ``SECRETS`` that the path matches, in whatever case; empty if it may be read."""
    whole, name = f"/{path.as_posix()}".lower(), path.name.lower()
    if not _ANY.match(name) and not _ANYWHERE.match(whole):
        return ""
    return next((glob for glob, regex in _EACH if regex.match(whole if "/" in glob else name)), "")
