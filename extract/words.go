package extract

import (
	"bytes"
	"strings"
)

// words is a list of lower-case words that tell what the value beside them is.
type words []string

// has reports whether word is in the list, whatever its case.
func (w words) has(word []byte) bool {
	for _, s := range w {
		if len(s) == len(word) && hasFoldPrefix(word, s) {
			return true
		}
	}
	return false
}

// in reports whether text holds a word of the list, whatever its case.
func (w words) in(text []byte) bool {
	var folded [64]byte
	n := copy(folded[:], text)
	for i := range folded[:n] {
		folded[i] = lower(folded[i])
	}
	for _, s := range w {
		if bytes.Contains(folded[:n], []byte(s)) {
			return true
		}
	}
	return false
}

// fieldNames reports whether one of the last two parts of a JSON field's path holds a word of the list.
func fieldNames(field string, list words) bool {
	if field == "" {
		return false
	}
	cut := strings.LastIndexByte(field, '.')
	if cut > 0 {
		cut = strings.LastIndexByte(field[:cut], '.')
	}
	return list.in([]byte(field[cut+1:]))
}

var (
	// versionWords stand before a version of four parts.
	versionWords = words{"version", "ver", "v", "versions", "build", "release", "rev", "revision", "firmware", "fileversion",
		"productversion", "assemblyversion", "clr", "kernel", "driver", "patch", "upgrade", "fw", "sw", "software", "section", "oid"}

	// hashWords name fields and keys that hold hashes of files, and win over idWords.
	hashWords = words{"hash", "md5", "sha1", "sha256", "sha512", "sha-1", "sha-256", "sha-512", "imphash", "checksum", "digest"}

	// idWords name fields and keys that hold identifiers which look like hashes.
	idWords = words{"trace", "span", "request", "req_id", "reqid", "session", "sess", "sid", "uuid", "guid", "correlation",
		"transaction", "txn", "tenant", "project", "nonce", "token", "csrf", "cookie", "etag", "api_key", "apikey", "boundary",
		"entity_id", "device_id", "client_id", "user_id", "container", "instance_id", "message_id", "event_id", "fingerprint",
		"build_id", "buildid", "invocation", "machine-id", "machine_id", "boot_id", "cursor", "signature",
		"hmac", "hreq"}

	// hostWords name fields and keys that hold hosts: what looks like a file or a property elsewhere is a name there.
	hostWords = words{"domain", "host", "hostname", "fqdn", "query", "question", "answers", "server_name", "servername", "sni", "url",
		"uri", "site", "referrer", "referer", "rdata", "cname", "rrname", "dns", "registered_domain", "ptr", "resolved", "resolve",
		"nxdomain", "lookup", "dst", "dest", "destination", "server", "subdomain", "origin", "helo", "relay", "rhost", "vhost"}
)
