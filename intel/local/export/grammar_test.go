package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// grammars read each format by its own rules, as its documentation has them, and not as it was written.
var grammars = map[Format]func(string) error{
	Plain:       checkPlain,
	CSV:         func(s string) error { return checkTable(s, 16) },
	V2:          checkV2,
	STIX:        checkSTIX,
	MISP:        checkMISP,
	ECS:         checkECS,
	Splunk:      func(s string) error { return checkTable(s, 7) },
	WazuhCDB:    checkCDB,
	LookupCSV:   checkLookupCSV,
	RsyslogJSON: checkRsyslog,
	SyslogNG:    checkSyslogNG,
}

func checkLines(s string, check func(line string) error) error {
	if s != "" && !strings.HasSuffix(s, "\n") {
		return errors.New("no line ending at the end")
	}
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(line, "\n")
		if strings.IndexFunc(line, isControl) >= 0 {
			return fmt.Errorf("control character in %q", line)
		}
		if err := check(line); err != nil {
			return fmt.Errorf("%w: %q", err, line)
		}
	}
	return nil
}

func checkPlain(s string) error {
	return checkLines(s, func(line string) error {
		if line == "" || strings.ContainsAny(line, " \t") {
			return errors.New("not one value")
		}
		return nil
	})
}

// checkTable reads RFC 4180, and looks for cells that a spreadsheet would run: all but votes, and the values of tables
// that are matched with them.
func checkTable(s string, columns int) error {
	r := csv.NewReader(strings.NewReader(s))
	r.FieldsPerRecord = columns
	rows, err := r.ReadAll()
	if err != nil {
		return err
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			matched := map[string]bool{
				"votes": true, "ip": true, "domain": true, "url": true, "file_hash": true, "src_user": true,
			}[rows[0][i]]
			if !matched && cell != "" && strings.IndexByte("=+-@\t\r", cell[0]) >= 0 {
				return fmt.Errorf("a spreadsheet runs %q", cell)
			}
		}
	}
	return nil
}

func checkV2(s string) error {
	return checkJSONLines(s, func(line []byte) error {
		_, err := intel.ParseEntryLine(line)
		return err
	})
}

// checkJSONLines checks each line; control characters beyond ASCII may stand in JSON's strings as they are.
func checkJSONLines(s string, check func(line []byte) error) error {
	if s != "" && !strings.HasSuffix(s, "\n") {
		return errors.New("no line ending at the end")
	}
	for line := range strings.Lines(s) {
		if err := check([]byte(line)); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
	}
	return nil
}

// checkLookupCSV reads each line as a row, as Logstash does.
func checkLookupCSV(s string) error {
	return checkLines(s, func(line string) error {
		row, err := csv.NewReader(strings.NewReader(line)).Read()
		if err == nil && len(row) != 6 {
			err = fmt.Errorf("%d cells", len(row))
		}
		return err
	})
}

// The pattern of one comparison: STIX 2.1, section 9.
var stixPatternForm = regexp.MustCompile(`^\[[a-z0-9-]+:(value|hashes\.(MD5|'SHA-(1|256|512)')) (=|ISSUBSET|LIKE) '([^'\\]|\\'|\\\\)*'\]$`)

var uuid5 = regexp.MustCompile(`^[a-z]+--[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func checkSTIX(s string) error {
	var bundle struct {
		Type, ID string
		Objects  []struct {
			Type, ID, Created, Modified, Pattern string
			ValidFrom                            time.Time  `json:"valid_from"`
			ValidUntil                           *time.Time `json:"valid_until"`
		}
	}
	if err := json.Unmarshal([]byte(s), &bundle); err != nil {
		return err
	}
	if bundle.Type != "bundle" || !uuid5.MatchString(bundle.ID) {
		return fmt.Errorf("bundle %q", bundle.ID)
	}
	seen := map[string]bool{}
	for _, o := range bundle.Objects {
		switch {
		case !uuid5.MatchString(o.ID) || !strings.HasPrefix(o.ID, o.Type+"--") || seen[o.ID]:
			return fmt.Errorf("identifier %q", o.ID)
		case o.Type == "indicator" && !stixPatternForm.MatchString(o.Pattern):
			return fmt.Errorf("pattern %s", o.Pattern)
		case o.Modified < o.Created:
			return fmt.Errorf("%s: modified %s before it was created %s", o.ID, o.Modified, o.Created)
		case o.ValidUntil != nil && !o.ValidUntil.After(o.ValidFrom):
			return fmt.Errorf("%s: valid until %v, from %v", o.ID, o.ValidUntil, o.ValidFrom)
		}
		seen[o.ID] = true
	}
	return nil
}

func checkMISP(s string) error {
	var event struct {
		Event struct {
			UUID, Info, Date, Timestamp string
			Attribute                   []struct{ UUID, Type, Category, Value, Timestamp string }
		}
	}
	if err := json.Unmarshal([]byte(s), &event); err != nil {
		return err
	}
	if event.Event.Info == "" || event.Event.Date == "" {
		return errors.New("no info or date")
	}
	seen := map[string]bool{}
	for _, a := range event.Event.Attribute {
		if a.UUID == "" || seen[a.UUID] || a.Value == "" || a.Type == "" || a.Category == "" {
			return fmt.Errorf("attribute %+v", a)
		}
		seen[a.UUID] = true
	}
	return nil
}

func checkECS(s string) error {
	return checkJSONLines(s, func(line []byte) error {
		var doc struct {
			Timestamp time.Time `json:"@timestamp"`
			Threat    struct{ Indicator map[string]any }
		}
		if err := json.Unmarshal(line, &doc); err != nil {
			return err
		}
		if doc.Timestamp.IsZero() || doc.Threat.Indicator["type"] == nil {
			return errors.New("no time or type")
		}
		return nil
	})
}

// checkCDB reads a line as the manager does that makes the database: a key in quotes goes to the next quote, any other
// to the first colon.
func checkCDB(s string) error {
	seen := map[string]bool{}
	return checkLines(s, func(line string) error {
		key, value, ok := strings.Cut(line, ":")
		if quote := strings.IndexByte(line, '"'); quote >= 0 {
			key, value, ok = strings.Cut(line[quote+1:], `":`)
			ok = ok && quote == 0
		}
		if !ok || key == "" || strings.ContainsAny(value, `":`) {
			return errors.New("not one key and value")
		}
		if seen[key] {
			return errors.New("not unique")
		}
		seen[key] = true
		return nil
	})
}

func checkRsyslog(s string) error {
	var table struct {
		Version int
		Nomatch *string
		Type    string
		Table   []struct{ Index, Value string }
	}
	d := json.NewDecoder(bytes.NewBufferString(s))
	d.DisallowUnknownFields()
	if err := d.Decode(&table); err != nil {
		return err
	}
	if table.Version != 1 || table.Nomatch == nil || table.Type != "string" || table.Table == nil {
		return fmt.Errorf("not a table: %.100s", s)
	}
	seen := map[string]bool{}
	for _, row := range table.Table {
		if row.Index == "" || seen[row.Index] || row.Value == "" {
			return fmt.Errorf("row %+v", row)
		}
		seen[row.Index] = true
	}
	return nil
}

var syslogNGForm = regexp.MustCompile(`^"(?:[^"]|"")+",iocpipe\.[a-z]+,"((?:[^"]|"")+)"$`)

func checkSyslogNG(s string) error {
	return checkLines(s, func(line string) error {
		m := syslogNGForm.FindStringSubmatch(line)
		if m == nil {
			return errors.New("not selector, name and value")
		}
		if strings.Contains(strings.ReplaceAll(m[1], "$$", ""), "$") {
			return errors.New("a macro in the value")
		}
		return nil
	})
}

// Whatever a feed says, an export is of its form, and a line of an export is not more than one value.
func FuzzWrite(f *testing.F) {
	f.Add("https://evil.test/a?b=\"c'd\\e", "=cmd|' /C calc'!A0", "a,b\n\"c\"", "https://x.test/\x1b]0;\a", int64(1700000000), int64(-5))
	f.Add("evil.test/#;,:", "-", "\xff\x00\u2028", "${MSG}$(x)", int64(-62135596800), int64(253402300800))
	f.Add("a b\tc", "'", "]}", "],\"x\":[", int64(1772368205), int64(1772368206))
	f.Fuzz(func(t *testing.T, value, source, tag, reference string, first, expires int64) {
		s := voted(source, -1)
		s.Note, s.By, s.Report.Tags, s.Report.References = tag+reference, source, []string{tag, value, source}, []string{reference}
		s.Report.Permalink, s.Report.First, s.Report.Last = reference, inYears(first), inYears(first/2)
		s.Expires = inYears(expires)
		related := ofType(extract.Domain, "b.test")
		related.Via, related.Relation = extract.Key{Value: value}, intel.ByReference
		entries := []intel.Entry{
			entry(withURL(extract.Domain, "a.test", value), s), entry(related, s), entry(ofType(extract.Antivirus, "av."+value), s),
			entry(withURL(extract.IP, "203.0.113.1", "http://203.0.113.1/"+value), s), entry(network("198.51.100.0/25"), s),
		}
		for _, format := range Formats {
			got, _ := export(t, format, entries, Options{Verdicts: everyVerdict})
			if err := grammars[format](got); err != nil {
				t.Errorf("%s: %v\n%s", format, err, got)
			}
		}
	})
}

// inYears returns a time that RFC 3339 can hold; zero for the others.
func inYears(unix int64) time.Time {
	t := time.Unix(unix, 0).UTC()
	if t.Year() < 1971 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
