package extract

import (
	"bytes"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Logs are full of names that end like domains: files, classes, packages, settings. This file tells them apart by what
// the name looks like and by what stands beside it. A name in the place of a host, behind // or @ or in a field for
// hosts, is believed whatever it looks like.

// ambiguousTLDs are the top-level domains that are more often something else in logs, by what else they are.
var ambiguousTLDs = func() map[string]tldKind {
	m := make(map[string]tldKind)
	for kind, list := range map[tldKind][]string{
		// Extensions of programs, sources, archives and settings.
		extensionTLD: {"sh", "py", "rs", "md", "zip", "so", "ps", "mov", "pub", "mm", "mk", "pm", "properties",
			"java", "target"},
		fileTLD: {"pl", "cc", "app", "ac", "am", "in", "tf", "ml", "la", "st", "as", "ai", "cab", "cat", "run",
			"zone", "new", "download", "network", "link", "dot", "pro", "sc", "bz", "inc", "gs", "do", "box",
			"page", "ms", "vi"},
		memberTLD: {"id", "name", "info", "is", "host", "date", "to", "now", "show", "claims", "health", "madrid",
			"events", "services", "systems", "support", "media", "cloud", "store", "security", "email", "group",
			"int", "my", "at", "it", "no", "be", "by", "plus", "report", "menu", "style", "space", "work", "works",
			"place", "camera", "photo", "photos", "video", "audio", "auto", "country", "fit", "size", "watch",
			"live", "online", "global", "channel", "contact", "feedback", "directory", "io", "local", "internal", "private", "home", "test", "alt"},
		// Delegated, but closed or unused, and words of programs.
		closedTLD: {"android", "chrome", "map", "phone", "weather", "data", "prime", "call", "play", "like",
			"select", "case", "drive", "docs", "next", "open", "save"},
	} {
		for _, tld := range list {
			m[tld] = kind
		}
	}
	return m
}()

// codeContext says why a well-formed name is the name of something else.
func (s *Scanner) codeContext(n *name) Rule {
	rule := n.looksLike()
	if rule == Accepted && n.labels == 2 && fieldNames(s.context(), fileFields) && !n.inHostPlace() {
		return FileName
	}
	if rule == Accepted || n.inHostPlace() || n.followsHostWord() || n.inRecord() ||
		fieldNames(s.context(), hostWords) {
		return Accepted
	}
	return rule
}

// looksLike says what the name would be if it stood in no particular place.
func (n *name) looksLike() Rule {
	if n.isBundle() {
		return BundleName
	}
	if n.kind == plainTLD && !n.upper && n.before() != '\\' && n.before() != '=' && n.before() != '"' {
		return Accepted // nearly all names
	}
	switch {
	case n.isClass():
		return ClassName
	case n.isAssigned():
		return Assigned
	case n.isCall():
		return Call
	case n.isFile():
		return FileName
	case n.isMember():
		return Property
	}
	return Accepted
}

// inHostPlace reports whether the name stands where only hosts stand: behind //, or the @ behind a user's name. What
// begins with an @ is an annotation, a decorator or a name on a social network.
func (n *name) inHostPlace() bool {
	t, i := n.text, n.start
	return i > 1 && t[i-1] == '@' && t[i-2] > ' ' && bytes.IndexByte([]byte("/([{,;"), t[i-2]) < 0 || i > 1 && t[i-1] == '/' && t[i-2] == '/' ||
		i > 2 && t[i-1] == '\\' && t[i-2] == '\\' || // \\server\share
		hasFoldPrefix(t[n.start:n.end], "www.")
}

// followsHostWord reports whether the word before the name says that a host follows.
func (n *name) followsHostWord() bool {
	before, gap := wordBefore(n.text, n.start)
	if gap > 0 && len(before) > 0 && n.before() == ' ' && n.text[n.start-gap] == ']' && recordTypes.has(before) {
		return true // query[AAAA] example.com, as dnsmasq writes
	}
	if gap == 1 && n.before() == ' ' && hostCommands.has(before) {
		return true
	}
	return gap > 0 && len(before) > 0 && hostWords.has(before) && n.before() != '.' && n.before() != '\\'
}

// hostCommands are commands that get a host or a URL.
var hostCommands = newWords("nslookup", "dig", "ping", "whois", "traceroute", "tracert", "telnet", "ssh", "curl", "wget")

// recordTypes are the DNS types that logs of name servers are full of.
var recordTypes = newWords("a", "aaaa", "cname", "mx", "txt", "ns", "ptr", "srv", "soa", "any", "https", "svcb", "caa")

// inRecord reports whether a DNS class follows, as in a zone's "example.com. 300 IN A" or a query's "example.com A IN".
func (n *name) inRecord() bool {
	rest := bytes.TrimPrefix(n.text[n.end:min(len(n.text), n.end+len(". 2147483647 IN "))], []byte("."))
	if len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t0123456789")
	if class := bytes.IndexAny(rest, " \t"); class > 0 && recordTypes.has(rest[:class]) {
		rest = rest[class+1:]
	}
	return bytes.HasPrefix(rest, []byte("IN ")) || bytes.HasPrefix(rest, []byte("IN\t"))
}

// label returns the nth label from the front, counted from 0, other than the last.
func (n *name) label(nth int) []byte {
	from := n.start
	for range nth {
		from += bytes.IndexByte(n.text[from:n.end], '.') + 1
	}
	return n.text[from : from+bytes.IndexByte(n.text[from:n.end], '.')]
}

func (n *name) first() []byte     { return n.label(0) }
func (n *name) secondary() []byte { return n.text[n.second : n.tld-1] }
func (n *name) last() []byte      { return n.text[n.tld:n.end] }

// after returns the byte behind the name, or 0 at the end.
func (n *name) after() byte {
	if n.end < len(n.text) {
		return n.text[n.end]
	}
	return 0
}

// before returns the byte before the name, or 0 at the start.
func (n *name) before() byte {
	if n.start > 0 {
		return n.text[n.start-1]
	}
	return 0
}

// reversedRoots begin the names of packages and bundles, as reversedSeconds do behind a country, and packageRoots those
// that end in no plain TLD; genericTLDs end names that begin so and are hosts all the same.
var (
	reversedRoots   = newWords("com", "org", "net", "edu", "gov", "mil")
	reversedSeconds = newWords("co", "com", "or", "org", "ne", "net")
	packageRoots    = newWords("java", "javax", "jdk", "sun", "io", "kotlin", "kotlinx", "scala", "akka", "android",
		"androidx")
	genericTLDs = newWords("com", "org", "net", "edu", "gov", "mil", "arpa", "br", "cn", "au", "uk", "jp", "kr",
		"tw", "hk")
)

// isBundle recognises com.apple.mail, org.apache.hadoop.io and jp.co.example.app.
func (n *name) isBundle() bool {
	if n.labels < 3 || genericTLDs.has(n.last()) {
		return false
	}
	first := n.first()
	return reversedRoots.has(first) || n.kind != plainTLD && (packageRoots.has(first) ||
		len(first) == 2 && n.labels > 3 && reversedSeconds.has(n.label(1)))
}

// netProducts are written with .NET for a last name.
var netProducts = newWords("asp", "vb", "ado", "ml", "json", "paint", "system", "microsoft", "core", "entity", "log4")

// isClass recognises capitals that a domain does not have: System.IO, Chrome.app, fooBar.name. Under the best known
// top-level domains any capitals are believed, for resolvers mix them on purpose.
func (n *name) isClass() bool {
	tld, secondary := n.last(), n.secondary()
	switch {
	case !n.upper:
		return false
	case genericTLDs.has(tld):
		return hasFoldPrefix(tld, "net") && isUpper(tld[0]) && netProducts.has(secondary)
	case n.kind == plainTLD && allUpper(n.text[n.start:n.end]),
		specialTLDs.has(tld) && bytes.IndexByte(secondary, '-') > 0: // Johns-MacBook-Pro.local
		return false
	}
	return hasUpper(tld) || isCamel(secondary) || n.kind != plainTLD && hasUpper(secondary)
}

func hasUpper(label []byte) bool {
	for _, c := range label {
		if isUpper(c) {
			return true
		}
	}
	return false
}

func allUpper(name []byte) bool {
	for _, c := range name {
		if class[c]&isLetter != 0 && !isUpper(c) {
			return false
		}
	}
	return true
}

// isCamel reports whether a capital follows a small letter.
func isCamel(label []byte) bool {
	for i := 1; i < len(label); i++ {
		if isUpper(label[i]) && class[label[i-1]]&isLetter != 0 && !isUpper(label[i-1]) {
			return true
		}
	}
	return false
}

// isAssigned recognises the key in user.name=root.
func (n *name) isAssigned() bool { return n.kind != plainTLD && n.after() == '=' }

// isCall recognises request.host() and log.info("…"), but not a host with its address in brackets.
func (n *name) isCall() bool {
	if n.kind == plainTLD || n.after() != '(' {
		return false
	}
	digit := n.end+1 < len(n.text) && class[n.text[n.end+1]]&isDigit != 0
	return !digit || n.kind == extensionTLD
}

// fileStems are names that files have and hosts seldom.
var fileStems = newWords("main", "index", "test", "tests", "setup", "readme", "makefile", "install", "run", "start",
	"stop", "build", "init", "__init__", "util", "utils", "script", "backup", "changelog", "license", "configure",
	"config", "settings", "entrypoint", "deploy", "update", "upgrade", "cleanup", "cron", "daemon", "module", "lib",
	"mod", "manage", "server", "client", "app", "id_rsa", "id_ecdsa", "id_ed25519", "tmp", "temp", "log", "logs",
	"output", "archive", "package", "tar", "min", "spec", "bundle", "miniserv",
	"gz", "exe", "dll", "pdf", "doc", "docx", "xls", "xlsx", "csv", "txt", "html", "jpg", "png", "sql", "xml", "json")

// isFile recognises /usr/bin/foo.sh, foo.py:12, Chrome.app and C:\Windows\Microsoft.NET.
func (n *name) isFile() bool {
	switch n.kind {
	case extensionTLD, fileTLD:
		inPath := n.before() == '/' || n.before() == '\\'
		return inPath || n.lineNumberFollows() || n.after() == '(' || n.followsProgram() ||
			!n.isHosted() && (fileStems.has(n.secondary()) || n.isBare())
	case memberTLD:
		if n.isBelowFolder() {
			return true
		}
	}
	return n.labels == 2 && (n.before() == '\\' && n.after() != '/' || n.followsFileKey())
}

// fileKeys stand before the name of a file.
var fileKeys = newWords("filename", "file_name", "fname", "attachment")

// fileFields are fields of JSON events that hold the names of files.
var fileFields = newWords("filename", "file_name", "file.name")

// followsFileKey recognises filename="eicar.com".
func (n *name) followsFileKey() bool {
	before, gap := wordBefore(n.text, n.start)
	return gap > 0 && (n.before() == '=' || n.before() == '"') && fileKeys.has(before)
}

// isBare recognises main.rs: two labels, with an extension that is little else, and neither path nor port behind.
func (n *name) isBare() bool {
	return n.kind == extensionTLD && n.labels == 2 && n.after() != '/' && !n.portFollows()
}

// isBelowFolder recognises /var/log/mail.info.
func (n *name) isBelowFolder() bool {
	return n.labels == 2 && n.before() == '/' && n.start > 1 && class[n.text[n.start-2]]&isAlnum != 0 && n.after() != '/'
}

// programs are commands that get a file.
var programs = newWords("bash", "sh", "zsh", "ksh", "dash", "source", "python", "python2", "python3", "perl",
	"ruby", "php", "node", "chmod", "chown", "rm", "cp", "mv", "cat", "less", "tail", "vi", "vim", "nano", "tar",
	"unzip", "file", "script")

// followsProgram recognises the file in perl foo.pl.
func (n *name) followsProgram() bool {
	before, gap := wordBefore(n.text, n.start)
	return gap == 1 && n.before() == ' ' && programs.has(before)
}

// isHosted reports whether the name stands below a suffix of two labels or more, such as run.app or com.py, where
// hosters and registries give names away.
func (n *name) isHosted() bool {
	if n.labels < 3 {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(loweredAlias(n.text[n.start:n.end]))
	return strings.IndexByte(suffix, '.') > 0
}

// lineNumberFollows reports whether a colon and a number other than a usual port follow.
func (n *name) lineNumberFollows() bool {
	if bytes.HasPrefix(n.text[n.end:], []byte(" line ")) {
		return true // at foo.pl line 12
	}
	return n.after() == ':' && n.end+1 < len(n.text) && class[n.text[n.end+1]]&isDigit != 0 && !n.portFollows()
}

// noLines are the extensions of files that have no lines: a number behind is a port.
var noLines = newWords("zip", "mov", "so", "app", "cab", "download")

// portFollows reports whether the port of a usual service follows.
func (n *name) portFollows() bool {
	if n.after() != ':' {
		return false
	}
	if noLines.has(n.last()) {
		return n.end+1 < len(n.text) && class[n.text[n.end+1]]&isDigit != 0
	}
	digits := n.end + 1
	end := digits
	for end < len(n.text) && end-digits < 6 && class[n.text[end]]&isDigit != 0 {
		end++
	}
	return usualPorts.has(n.text[digits:end])
}

var usualPorts = newWords("80", "443", "8080", "8443", "22", "25", "53", "21", "587", "993", "8000", "8888")

// programWords are the parts that names of settings and members are made of.
var programWords = newWords("user", "os", "host", "file", "class", "object", "obj", "item", "node", "system", "app",
	"session", "request", "req", "response", "resp", "res", "process", "thread", "event", "message", "msg", "group",
	"client", "server", "service", "config", "conf", "type", "table", "column", "key", "value", "index", "source",
	"destination", "agent", "container", "pod", "image", "device", "account", "task", "job", "tip", "attempt",
	"map", "reduce", "mapred", "mapreduce", "query", "rule", "trace", "span", "transaction", "log", "logger",
	"logging", "console", "self", "this", "cls", "java", "javax", "sun", "sys", "datetime", "time", "window",
	"document", "math", "string", "array", "list", "module", "package", "property", "param", "params", "args",
	"ctx", "context", "state", "status", "store", "charge", "ownerinfo", "compute", "scheduler", "nova", "network",
	"volume", "cluster", "queue", "topic", "partition", "broker", "worker", "executor", "driver", "stage", "block",
	"parent", "child", "root", "local", "remote", "default", "my", "test", "display", "hardware", "socket",
	"plugin", "vm", "runtime", "bean", "field", "schema", "role", "policy", "resource", "spark", "hadoop", "hive",
	"yarn", "dfs", "hbase", "kafka", "flink", "jvm", "catalina", "jetty", "tomcat", "jboss", "organization",
	"project", "cloud", "orchestrator", "observer", "data", "stream", "threat", "error", "url", "fs", "np", "pd", "df",
	"std", "application", "instance")

// properties are the top-level domains under which hardly anybody has a host, and everything in programs has one.
var properties = newWords("id", "name")

// isMember recognises user.name, k8s.pod.name and logger.info: names made of the words that programs use.
func (n *name) isMember() bool {
	if n.kind != memberTLD || n.labels > 2 && specialTLDs.has(n.last()) {
		return false
	}
	return programWords.has(n.secondary()) &&
		(n.labels == 2 || properties.has(n.last()) || programWords.has(n.first())) || n.isColumn()
}

// isColumn recognises u.name in a statement of SQL.
func (n *name) isColumn() bool {
	const reach = 256
	before := n.text[max(0, n.start-reach):n.start]
	return n.labels == 2 && (bytes.Contains(before, []byte("SELECT ")) || bytes.Contains(before, []byte("select ")) ||
		bytes.Contains(before, []byte("WHERE ")) || bytes.Contains(before, []byte("UPDATE ")))
}
