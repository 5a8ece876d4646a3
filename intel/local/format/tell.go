package format

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"iocpipe/extract"
)

var (
	errHashes = errors.New("hashes.csv of a MISP feed holds no values, only hashes of them: import the events beside it")
	errJSON   = errors.New("JSON of no format that is known")
	errPage   = errors.New("a web page, not a list")
)

// tell returns the format of the list that begins with head.
func tell(head []byte) (Kind, error) {
	text := strings.TrimSpace(string(head))
	switch {
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		if kind := tellJSON(text); kind != "" {
			return kind, nil
		}
		if _, err := ParseSubject(strings.SplitN(text, "\n", 2)[0]); err == nil { // [2001:db8::7]:80
			return Plain, nil
		}
		return "", fmt.Errorf("%w (its members: %s)", errJSON, shorten(strings.Join(namesAt(outline(text), 1), ", ")))
	case webPageHead.MatchString(text):
		return "", errPage
	case strings.HasPrefix(text, "<"):
		return OpenIOC, nil
	}
	return tellText(text)
}

// A member is the name of a member of a JSON object and how many brackets are around it.
type member struct {
	depth int
	name  string
}

// outline returns the first members of JSON that may be cut off, down to the fourth bracket.
func outline(text string) (members []member) {
	const maxDepth, maxMembers = 4, 2000
	depth := 0
	for i := 0; i < len(text) && len(members) < maxMembers; i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			name, rest, ok := cutString(text[i+1:])
			if !ok {
				return members
			}
			i = len(text) - len(rest) - 1
			if depth <= maxDepth && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), ":") {
				members = append(members, member{depth, name})
			}
		}
	}
	return members
}

// cutString returns what stands before the closing quote of a string, and what behind it.
func cutString(text string) (before, behind string, ok bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i], text[i+1:], true
		}
	}
	return "", "", false
}

// namesAt returns the names of members at a depth, each once.
func namesAt(members []member, depth int) (names []string) {
	for _, m := range members {
		if m.depth == depth && !slices.Contains(names, m.name) && len(names) < 20 {
			names = append(names, m.name)
		}
	}
	return names
}

// jsonSigns are the members by which JSON formats are told, at most so many brackets deep, the surest first. All names
// of a line must be there.
var jsonSigns = []struct {
	kind  Kind
	depth int
	names []string
}{
	{SpamhausDROP, 1, []string{"cidr", "sblid"}},
	{SpamhausDROP, 1, []string{"asn", "rir"}},
	{Reports, 1, []string{"response_code"}},
	{Reports, 1, []string{"value", "votes"}},
	{STIX, 1, []string{"objects"}},
	{STIX, 2, []string{"spec_version", "pattern"}},
	{MISP, 3, []string{"Event"}},
	{MISP, 1, []string{"Attribute"}},
	{MISP, 1, []string{"Object", "info"}},
	{MISP, 1, []string{"Orgc", "info"}},
	{MISPFeed, 2, []string{"Orgc", "info"}},
	{MISPFeed, 2, []string{"info", "timestamp"}},
	{URLhaus, 4, []string{"urlhaus_link"}},
	{URLhaus, 4, []string{"urlhaus_reference"}},
	{URLhaus, 4, []string{"urlhaus_download"}},
	{ThreatFox, 4, []string{"ioc_value", "ioc_type"}},
	{ThreatFox, 4, []string{"ioc", "ioc_type"}},
	{MalwareBazaar, 4, []string{"sha256_hash"}},
	{Feodo, 2, []string{"ip_address", "malware"}},
	{OTX, 2, []string{"indicators"}},
	{OTX, 3, []string{"results", "indicator"}},
	{OTX, 3, []string{"results", "indicators"}},
	{OTX, 3, []string{"results", "adversary"}},
	{OTX, 3, []string{"indicator", "type", "title"}},
	{Warninglist, 1, []string{"list"}},
	{Warninglist, 1, []string{"matching_attributes"}},
	{Reports, 1, []string{"value"}},
	{Reports, 1, []string{"permalink"}},
	{Reports, 1, []string{"md5"}},
}

// tellJSON returns the format of JSON, or "".
func tellJSON(text string) Kind {
	members := outline(text)
	for _, sign := range jsonSigns {
		if !slices.ContainsFunc(sign.names, func(name string) bool {
			return !slices.ContainsFunc(members, func(m member) bool { return m.depth <= sign.depth && m.name == name })
		}) {
			return sign.kind
		}
	}
	if names := namesAt(members, 1); len(names) > 0 && uuid.MatchString(names[0]) {
		return MISPFeed // of old generators, which give the time alone
	}
	return ""
}

var (
	webPageHead = regexp.MustCompile(`(?i)^(<\?xml[^>]*>\s*)?<(!doctype )?html`)

	uuid      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	valueHash = regexp.MustCompile(`^[0-9a-f]{32},[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	dropLine  = regexp.MustCompile(`^[0-9a-f.:]+/\d+\s*;\s*SBL\d+`)
	ipsumLine = regexp.MustCompile(`^[0-9.]+\t\d{1,3}$`)
)

// headerSigns are the columns by which the feeds of abuse.ch are told, all of a line in one header.
var headerSigns = []struct {
	kind    Kind
	columns []string
}{
	{URLhaus, []string{"url", "urlhaus_link"}},
	{ThreatFox, []string{"ioc_value", "ioc_type", "fk_malware"}},
	{MalwareBazaar, []string{"sha256_hash", "md5_hash", "reporter"}},
	{Feodo, []string{"dst_ip", "c2_status"}},
	{Feodo, []string{"dst_ip", "dst_port", "malware"}},
}

// tellText returns the format of a list of lines.
func tellText(text string) (Kind, error) {
	var comment, first, second string
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case line == "" || line[0] == ';':
		case line[0] == '#':
			if first == "" {
				comment = line[1:]
			}
			if isTrailComment(line) {
				return Maltrail, nil
			}
		case first == "":
			first = line
		case second == "":
			second = line
		}
	}
	if kind := tellHeader(first); kind != "" {
		return kind, nil
	}
	if kind := tellHeader(comment); kind != "" && isHeaderOf(comment, first) {
		return kind, nil
	}
	switch words := strings.Fields(first); {
	case valueHash.MatchString(first):
		return "", errHashes
	case dropLine.MatchString(first):
		return SpamhausDROP, nil
	case ipsumLine.MatchString(first) && second != "" && ipsumLine.MatchString(second):
		return IPsum, nil
	case ipsumLine.MatchString(first) && strings.Contains(comment+text[:min(len(text), 100)], "IPsum"):
		return IPsum, nil
	case len(words) > 1 && slices.Contains(blockingAddresses, words[0]), isHostsLine(words):
		return Hosts, nil
	case isTable(first, second):
		return CSV, nil
	}
	return Plain, nil
}

// isHeaderOf reports whether a comment has columns, and no more of them than the row below it.
func isHeaderOf(comment, row string) bool {
	comma := delimiter(comment)
	names, _ := appendFields(nil, comment, comma)
	fields, _ := appendFields(nil, row, comma)
	return len(names) > 1 && len(fields) >= len(names)
}

func isTrailComment(line string) bool {
	text := strings.TrimLeft(line, "# ")
	return strings.HasPrefix(text, "Reference: ") || strings.HasPrefix(text, "Aliases: ") ||
		strings.Contains(text, "Maltrail developers")
}

// isHostsLine reports whether words are an address and names that only a hosts file has.
func isHostsLine(words []string) bool {
	if len(words) < 2 || !systemName(words[1]) {
		return false
	}
	_, err := netip.ParseAddr(words[0])
	return err == nil
}

// tellHeader returns the format whose columns line names, or "".
func tellHeader(line string) Kind {
	fields, _ := appendFields(nil, line, delimiter(line))
	cols := columnsOf(fields)
	for _, sign := range headerSigns {
		if !slices.ContainsFunc(sign.columns, func(name string) bool { _, ok := cols[name]; return !ok }) {
			return sign.kind
		}
	}
	if cols.named() {
		return CSV
	}
	return ""
}

// isTable reports whether two lines are a header and a row of a table, whatever it is about.
func isTable(header, row string) bool {
	comma := delimiter(header)
	names, _ := appendFields(nil, header, comma)
	values, _ := appendFields(nil, row, comma)
	if len(names) < 2 || len(names) != len(values) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		_, ok := extract.ParseKey(name)
		return ok || name == "" || strings.ContainsAny(name, "./:[]")
	})
}
