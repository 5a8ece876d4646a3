package format

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// valueColumns are the names of columns that hold indicators; the first that a list has is taken.
var valueColumns = []string{
	"indicator", "indicator_value", "ioc", "ioc_value", "value", "observable", "ip", "ip_address", "ip_addr", "dst_ip",
	"domain", "domain_name", "hostname", "fqdn", "url", "hash", "file_hash", "hash_value",
	"md5", "sha1", "sha256", "sha512", "md5_hash", "sha1_hash", "sha256_hash", "email", "email_address", "cidr",
}

// hashColumns are those of them that name the same sample, when they stand in one row.
var hashColumns = []string{"sha256", "sha256_hash", "sha1", "sha1_hash", "md5", "md5_hash", "sha512"}

// named reports whether one of the columns holds indicators.
func (c columns) named() bool { return c.value() != "" }

// value returns the name of the column that holds indicators, or "".
func (c columns) value() string {
	for _, name := range valueColumns {
		if _, ok := c[name]; ok {
			return name
		}
	}
	return ""
}

// readCSV reads rows with named columns.
func (l *list) readCSV(in *bufio.Reader) error {
	return l.readRows(in, false, func(cols columns, raw record) error {
		column, get := cols.value(), raw.unguarded()
		if slices.Contains(hashColumns, column) {
			return l.addSample(get, func() (*intel.Statement, error) { return l.rowStatement(get) })
		}
		name := get.first("type", "ioc_type", "indicator_type")
		if name == extract.Antivirus.String() {
			return l.addRow(get, func() (intel.Subject, error) {
				return intel.Subject{Key: extract.Key{Type: extract.Antivirus, Value: strings.ToLower(get(column))}}, nil
			})
		}
		want, err := typeOf(name)
		if err == nil && want == 0 {
			want = columnTypes[column]
		}
		if err != nil {
			l.refuse(get(column), err)
			return nil
		}
		return l.addRow(get, func() (intel.Subject, error) { return parseTyped(get(column), want) })
	})
}

// addRow takes a row, whose subject is said to be related when the row names what it is related to, and how.
func (l *list) addRow(get record, parse func() (intel.Subject, error)) error {
	s, err := l.rowStatement(get)
	var subject intel.Subject
	if err == nil {
		subject, err = parse()
	}
	if err != nil {
		l.refuse(get.first(valueColumns...), err)
		return nil
	}
	if via, relation := get("via"), get("relation"); via != "" && relation != "" {
		subject.Via, subject.Relation = extract.Key{Value: via}, relation
	}
	return l.take(intel.Entry{Subject: subject, Statement: s})
}

// unguarded returns the fields without the apostrophe behind which text stands that a spreadsheet would run.
func (r record) unguarded() record {
	return func(name string) string {
		text := r(name)
		if len(text) > 1 && text[0] == '\'' && strings.IndexByte("=+-@\t\n'", text[1]) >= 0 {
			return text[1:]
		}
		return text
	}
}

// columnTypes are the types of columns that are named after one.
var columnTypes = map[string]types{"url": aURL}

// rowStatement returns what a row says of its indicator, by the names of columns that feeds use.
func (l *list) rowStatement(get record) (*intel.Statement, error) {
	votes, err := rowVotes(get)
	if err != nil {
		return nil, err
	}
	var times [3]time.Time
	for i, text := range []string{
		get.first("first_seen", "first_seen_utc", "firstseen", "dateadded", "date_added", "created"),
		get.first("last_seen", "last_seen_utc", "lastseen", "last_online", "modified"),
		get.first("expires", "valid_until", "expiration"),
	} {
		if times[i], err = parseTime(text); err != nil {
			return nil, err
		}
	}
	s := l.statement(votes, intel.Report{
		First: times[0], Last: times[1],
		References: listOf(get.first("reference", "references", "link", "source_url")),
		Tags:       tagsOf(get("malware"), get("malware_printable"), get("signature"), get("threat"), get("tags")),
		Permalink:  get("permalink"),
	})
	if s.Expires, s.By, s.Note = times[2], get("by"), get("note"); s.By != "" {
		if s.Added, err = parseTime(get("added")); err != nil {
			return nil, err
		}
	}
	if strings.EqualFold(get("verdict"), "unknown") && get("votes") == "" { // known, but not judged
		s.Report.Votes, s.Report.Voted = 0, false
	}
	return s, nil
}

// rowVotes returns the votes of a row: as it says, and malicious when it does not. Low confidence is no verdict.
func rowVotes(get record) (int8, error) {
	word := strings.ToLower(get.first("verdict", "votes", "malicious"))
	if word == "related" { // the votes are about what it is related to
		word = get("votes")
	}
	votes, ok := voteWords[word]
	if word == "false" || word == "no" || word == "0" && get.first("verdict", "votes") == "" {
		votes, ok = benign, true // of a column "malicious"
	}
	if !ok {
		return 0, fmt.Errorf("unknown verdict %q", shorten(word))
	}
	if votes == malicious && unsure(get.first("confidence", "confidence_level")) {
		votes = undecided
	}
	return votes, nil
}

// voteWords are the words for verdicts.
var voteWords = map[string]int8{
	"": malicious, "-1": malicious, "malicious": malicious, "bad": malicious, "true": malicious, "yes": malicious,
	"0": undecided, "undecided": undecided, "suspicious": undecided, "unknown": undecided, "even": undecided,
	"1": benign, "+1": benign, "benign": benign, "good": benign, "clean": benign, "harmless": benign,
}

// unsure reports whether a source says that it is less than half sure, in percent or words.
func unsure(confidence string) bool {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(confidence, "%"), 64)
	return err == nil && percent < 50 || strings.EqualFold(confidence, "low")
}

// addSample takes the hashes of one sample, which share one statement.
func (l *list) addSample(get record, statement func() (*intel.Statement, error)) error {
	keys := sampleOf(get)
	if len(keys) == 0 {
		value := get.first(hashColumns...)
		err := errEmpty
		if value != "" {
			err = errNotOfType
		}
		l.refuse(value, err)
		return nil
	}
	s, err := statement()
	if err != nil {
		l.refuse(keys[0].Value, err)
		return nil
	}
	nameSample(&s.Report, keys)
	for _, key := range keys {
		if err := l.add(key.Value, s); err != nil {
			return err
		}
	}
	return nil
}

// sampleOf returns the hashes of a row.
func sampleOf(get record) (keys []extract.Key) {
	for _, column := range hashColumns {
		if key, ok := extract.ParseKey(get(column)); ok && key.Type.IsHash() {
			keys = append(keys, key)
		}
	}
	return keys
}

// nameSample notes in a report all names of the sample that it is about.
func nameSample(r *intel.Report, keys []extract.Key) {
	for _, key := range keys {
		switch key.Type {
		case extract.MD5:
			r.MD5 = key.Value
		case extract.SHA1:
			r.SHA1 = key.Value
		default:
			if len(keys) > 1 && !slices.Contains(r.Hashes, key.Value) {
				r.Hashes = append(r.Hashes, key.Value)
			}
		}
	}
}

// The bounds of what is kept beside an indicator: how many names or references, and how long each, in bytes.
const (
	maxNames = 50
	maxName  = 512
)

// tagsOf returns the names in texts, each of which may be a list separated by commas, semicolons or bars.
func tagsOf(texts ...string) []string {
	var tags []string
	for _, text := range texts {
		if strings.Contains(text, `"`) { // a row within a cell
			if fields, end := appendFields(nil, text, ','); end == closed {
				for _, tag := range fields {
					tags = appendName(tags, tag)
				}
				continue
			}
		}
		for tag := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ';' || r == '|' }) {
			tags = appendName(tags, strings.Trim(tag, " '\"[]")) // of a list as Python writes it
		}
	}
	return tags
}

// appendName appends a name that is not there yet.
func appendName(names []string, name string) []string {
	name = field(name)
	if name == "" || len(name) > maxName || len(names) >= maxNames || slices.Contains(names, name) {
		return names
	}
	return append(names, strings.Clone(name))
}

// listOf returns the references in text, which stand apart by blanks.
func listOf(text string) []string {
	var list []string
	if strings.Contains(text, `"`) { // a row within a cell
		if fields, end := appendFields(nil, text, ' '); end == closed {
			for _, reference := range fields {
				list = appendName(list, reference)
			}
			return list
		}
	}
	for word := range strings.FieldsSeq(text) {
		list = appendName(list, strings.Trim(word, ",;"))
	}
	return list
}
