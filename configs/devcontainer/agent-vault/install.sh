#!/bin/sh
# Runs as root while the container's image is built. Beside it are agent-vault,
# built for Linux with CGO_ENABLED=0, and agent-vault-ca.crt, which agent-vault ca
# export writes; neither is secret.
set -eu
cd "$(dirname "$0")"

for file in agent-vault agent-vault-ca.crt; do
	if ! [ -f "$file" ]; then
		echo "agent-vault: $file is not beside install.sh (docs/images.md)" >&2
		exit 1
	fi
done

shared=/usr/local/share/agent-vault
mkdir -p /usr/local/bin "$shared"
cp agent-vault /usr/local/bin/agent-vault
cp agent-vault-ca.crt "$shared/ca.crt"
chmod 755 /usr/local/bin/agent-vault "$shared"
chmod 644 "$shared/ca.crt"

if ! command -v update-ca-certificates >/dev/null && ! command -v update-ca-trust >/dev/null; then
	if command -v apt-get >/dev/null; then
		apt-get update
		apt-get install --yes --no-install-recommends ca-certificates
		rm -rf /var/lib/apt/lists/*
	elif command -v apk >/dev/null; then
		apk add --no-cache ca-certificates
	fi
fi

if command -v update-ca-certificates >/dev/null; then # Debian, Alpine
	mkdir -p /usr/local/share/ca-certificates
	cp "$shared/ca.crt" /usr/local/share/ca-certificates/agent-vault.crt
	update-ca-certificates
	bundle=/etc/ssl/certs/ca-certificates.crt
elif command -v update-ca-trust >/dev/null; then # Fedora and its kin
	cp "$shared/ca.crt" /etc/pki/ca-trust/source/anchors/agent-vault.crt
	update-ca-trust extract
	bundle=/etc/pki/tls/certs/ca-bundle.crt
else
	echo "agent-vault: this image has neither update-ca-certificates nor update-ca-trust" >&2
	exit 1
fi
ln -sf "$bundle" "$shared/bundle.crt"

# For shells; what a shell already has comes first.
address=${ADDRESS:-http://host.docker.internal:14321}
case $address in
*[!a-zA-Z0-9.:/_-]*)
	echo "agent-vault: the option address is no address: $address" >&2
	exit 1
	;;
esac
mkdir -p /etc/profile.d
cat >/etc/profile.d/agent-vault.sh <<EOF
export AGENT_VAULT_ADDR="\${AGENT_VAULT_ADDR:-$address}"
EOF
chmod 644 /etc/profile.d/agent-vault.sh
