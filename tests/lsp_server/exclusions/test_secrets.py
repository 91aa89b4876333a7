from pathlib import PurePosixPath

import pytest

from lsp_server.exclusions.secrets import SECRETS, secret_glob

SECRET = """
.env .env.local .env.example .envrc prod.env .dev.vars secrets.py secrets.yml secrets secret.yaml app.secrets
credentials credentials.json credentials.yml.enc google-credentials.json client_secret_12.json service-account.json
wp-config.php server.pem SERVER.KEY ca.crt ca.cer apns.p8 cert.pfx store.jks vault.kdbx vpn.ovpn master.key
id_rsa id_rsa.pub id_ed25519 .ssh/config .gnupg/private-keys-v1.d .netrc _netrc .git-credentials .npmrc .yarnrc.yml
.pypirc .pgpass .htpasswd .docker/config.json .kube/config .aws/credentials .aws/config .azure/accessTokens.json
.config/gcloud/application_default_credentials.json .m2/settings.xml terraform.tfvars prod.tfvars.json terraform.tfstate
terraform.tfstate.backup .vault-token .bash_history .python_history
"""
READ = """
environment.py env.py dotenv.py keyboard.py key.py keys.py monkey.ts secret_santa.py secretary.rb my_secrets_test.py
credential_helper.go certificate.py config.json docker/config.json settings.xml kube/config aws/handler.py history.py
tfvars.tf main.tf rsa.py npmrc.md .gitignore .editorconfig .eslintrc passwords.py token.py idea.md ssh/config.py
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_what_may_hold_secrets(name: str) -> None:
    for path in (name, f"a/b/{name}", f"a/{name.upper()}"):
        assert secret_glob(PurePosixPath("/home/me") / path) in SECRETS, path


@pytest.mark.parametrize("name", READ.split())
def test_what_only_sounds_like_it(name: str) -> None:
    assert secret_glob(PurePosixPath("/home/me/project") / name) == ""


def test_what_stands_in_a_folder_of_keys_is_a_secret_however_deep() -> None:
    assert secret_glob(PurePosixPath("/home/me/.aws/sso/cache/token.json")) == ".aws/*"
