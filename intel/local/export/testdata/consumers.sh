#!/bin/sh
# Puts the programs that read exports into a folder, without installing them: syslog daemons, of which a system may have
# one alone (Debian), and the Python libraries for STIX and MISP. Tests find them there by IOCPIPE_CONSUMERS.
set -eu
dir=${1:?usage: consumers.sh FOLDER}
mkdir -p "$dir/archives/partial" "$dir/root"
if ! [ -x "$dir/venv/bin/python" ]; then
	python3 -m venv "$dir/venv" || { # Debian has venv apart
		apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
		python3 -m venv --clear "$dir/venv"
	}
fi
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check stix2==3.0.2 stix2-patterns==2.1.2 pymisp==2.5.34.4
if ! [ -x "$dir/root/usr/sbin/rsyslogd" ] || ! [ -x "$dir/root/usr/sbin/syslog-ng" ]; then
	apt-get update -qq
	for packages in rsyslog "syslog-ng-core syslog-ng-mod-add-contextual-data"; do
		# shellcheck disable=SC2086 # several words
		apt-get install -qq -y --no-install-recommends --reinstall --download-only \
			-o Dir::Cache::archives="$dir/archives" $packages >/dev/null
	done
	for package in "$dir"/archives/*.deb; do
		dpkg -x "$package" "$dir/root"
	done
fi
