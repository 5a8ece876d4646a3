package extract

import "strings"

// A words is a set of lower-case words that tell what the value beside them is.
type words struct {
	firsts [32]uint32    // by length: the first letters of the words that are so long, to refuse most others at once
	starts [256][]string // by first letter
}

func newWords(list ...string) *words {
	w := new(words)
	for _, s := range list {
		w.firsts[len(s)] |= 1 << (s[0] & 31)
		w.starts[s[0]] = append(w.starts[s[0]], s)
	}
	return w
}

// has reports whether word is in the set, whatever its case.
func (w *words) has(word []byte) bool {
	n := len(word)
	return n > 0 && n < len(w.firsts) && w.firsts[n]&(1<<(word[0]&31)) != 0 && w.find(word)
}

func (w *words) find(word []byte) bool {
	for _, s := range w.starts[lower(word[0])] {
		if len(s) == len(word) && hasFoldPrefix(word, s) {
			return true
		}
	}
	return false
}

// in reports whether text holds a word of the set, whatever its case. Only its first bytes are looked at.
func (w *words) in(text string) bool {
	text = text[:min(len(text), 64)]
	for i := range len(text) {
		for _, s := range w.starts[lower(text[i])] {
			if hasFoldPrefix(text[i:], s) {
				return true
			}
		}
	}
	return false
}

// fieldNames reports whether one of the last two parts of a JSON field's path holds a word of the list.
func fieldNames(field string, list *words) bool {
	if field == "" {
		return false
	}
	cut := strings.LastIndexByte(field, '.')
	if cut > 0 {
		cut = strings.LastIndexByte(field[:cut], '.')
	}
	return list.in(field[cut+1:])
}

var (
	// versionWords stand before a version of four parts.
	versionWords = newWords("version", "ver", "v", "versions", "build", "release", "rev", "revision", "firmware",
		"fileversion", "productversion", "assemblyversion", "clr", "kernel", "driver", "patch", "upgrade", "fw",
		"sw", "software", "section", "subsection", "chapter", "clause", "paragraph", "appendix", "oid")

	// agents are products in user agents whose names are not capitalised; agentWords name fields that hold user agents.
	agents = newWords("aws-cli", "axios", "curl", "wget", "nginx", "okhttp", "libcurl", "libwww-perl", "node-fetch",
		"python-requests", "python-httpx", "python-urllib", "urllib3", "botocore", "boto3", "grpc-go", "containerd")
	agentWords = newWords("agent", "useragent", "user-agent")

	// hashWords name fields and keys that hold hashes of files, and win over idWords.
	hashWords = newWords("hash", "md5", "sha1", "sha256", "sha512", "sha-1", "sha-256", "sha-512", "checksum", "digest")

	// otherHashWords name fields and keys that hold hashes of what is no file.
	otherHashWords = newWords("imphash", "import_hash", "pehash", "authentihash", "ja3", "ja4", "hassh",
		"thumbprint", "certhash", "cert_hash", "serial", "certificate", "issuer", "subject", "x509")

	// idWords name fields and keys that hold identifiers which look like hashes.
	idWords = newWords("trace", "span", "request", "req_id", "reqid", "session", "sess", "sid", "uuid", "guid",
		"correlation", "transaction", "txn", "tenant", "project", "nonce", "token", "csrf", "cookie", "etag",
		"api_key", "apikey", "boundary", "entity_id", "device_id", "client_id", "user_id", "container",
		"instance_id", "message_id", "event_id", "fingerprint", "build_id", "buildid", "invocation", "machine-id",
		"machine_id", "boot_id", "cursor", "signature", "hmac", "hreq", "commit", "docker", "overlay2", "libpod",
		"kubepods", "externalid", "external_id")

	// hostWords name fields and keys that hold hosts: what looks like a file or a property elsewhere is a name there.
	hostWords = newWords("domain", "host", "hostname", "fqdn", "query", "question", "answers", "server_name",
		"servername", "sni", "url", "uri", "site", "referrer", "referer", "rdata", "cname", "connect", "forwarded",
		"reply", "cached", "rrname", "dns", "registered_domain", "ptr", "resolved", "resolve", "nxdomain", "lookup",
		"dst", "dest", "destination", "server", "subdomain", "origin", "helo", "relay", "rhost", "vhost")
)
