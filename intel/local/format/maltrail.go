package format

import (
	"bufio"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// maxBlock is how many values of one block of trails are told as related to each other.
const maxBlock = 200

// readMaltrail reads trails of Maltrail: one file per family, in it blocks of values below the references in which they
// were published. The values of a block share a statement, which names the family, the references, and the other
// values. Source: https://github.com/stamparm/maltrail/tree/master/trails/static
func (l *list) readMaltrail(in *bufio.Reader) error {
	t := trails{list: l, family: namesOf(numbered.ReplaceAllString(l.Source, ""))}
	t.begin()
	err := l.eachLine(in, func(line []byte) error {
		switch {
		case len(line) == 0:
			return nil
		case line[0] == '#':
			return t.comment(strings.TrimLeft(string(line), "# "))
		case len(line) > maxListLine:
			l.refuse(string(line[:maxListLine]), errTooLong)
			return nil
		}
		return t.value(withoutComment(line))
	})
	if err != nil {
		return err
	}
	return t.flush()
}

// numbered is what continues a file of trails that has become too large.
var numbered = regexp.MustCompile(`-\d+$`)

// trails are the blocks of a file of trails.
type trails struct {
	list   *list
	family []string

	report    intel.Report    // of the block at hand
	held      []intel.Subject // its values, until its statement is complete
	statement *intel.Statement
	begun     bool // whether it has values
}

func (t *trails) begin() {
	t.report = intel.Report{Tags: t.family}
	t.statement, t.begun = nil, false
}

// reference is how the lines begin that name a publication; people misspell it.
var reference = regexp.MustCompile(`(?i)^Refer?[a-z]*ce?[a-z]*\s*:+\s*(.+)$`)

// comment begins the next block, unless the one at hand has no values yet, and notes what a comment says of it.
func (t *trails) comment(text string) error {
	if t.begun {
		if err := t.flush(); err != nil {
			return err
		}
		t.begin()
	}
	if m := reference.FindStringSubmatch(text); m != nil {
		where := m[1]
		for word := range strings.FieldsSeq(where) {
			if strings.HasPrefix(word, "http") {
				where = word
				break
			}
		}
		t.report.References = appendName(t.report.References, where)
	}
	if aliases, ok := strings.CutPrefix(text, "Aliases:"); ok {
		for alias := range strings.SplitSeq(aliases, ",") {
			t.family = appendName(t.family, alias)
		}
		t.report.Tags = t.family
	}
	return nil
}

// value takes one value, or holds it until the block is complete.
func (t *trails) value(value string) error {
	t.begun = true
	subject, err := ParseSubject(value)
	if err != nil {
		t.list.refuse(value, err)
		return nil
	}
	if t.statement == nil && len(t.held) >= maxBlock {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if t.statement == nil {
		t.held = append(t.held, subject)
		return nil
	}
	return t.list.take(intel.Entry{Subject: subject, Statement: t.statement})
}

// flush takes what is held of the block.
func (t *trails) flush() error {
	if len(t.held) == 0 {
		return nil
	}
	if len(t.report.References) > 0 && len(t.held) > 1 {
		t.relate()
	}
	t.statement = t.list.statement(malicious, t.report)
	for _, subject := range t.held {
		if err := t.list.take(intel.Entry{Subject: subject, Statement: t.statement}); err != nil {
			return err
		}
	}
	t.held = t.held[:0]
	return nil
}

// relate names the held values in the report.
func (t *trails) relate() {
	for _, subject := range t.held {
		names := &t.report.Hashes
		switch {
		case subject.Key.Type == extract.Domain:
			names = &t.report.Domains
		case subject.Key.Type == extract.IP:
			names = &t.report.IPs
		case !subject.Key.Type.IsHash():
			continue
		}
		if !slices.Contains(*names, subject.Key.Value) {
			*names = append(*names, subject.Key.Value)
		}
	}
}

// ipsumSure is on how many of the lists that IPsum reads an address must stand to be called malicious. Its authors
// advise to block from three on: most of what stands on one or two of them is there by mistake, or no more.
// Source: https://github.com/stamparm/ipsum
const ipsumSure = 3

// readIPsum reads addresses with the number of lists on which each stands. Those with one number share a statement.
func (l *list) readIPsum(in *bufio.Reader) error {
	statements := make(map[int]*intel.Statement)
	return l.eachLine(in, func(line []byte) error {
		if len(line) == 0 || line[0] == '#' {
			return nil
		}
		value, count, _ := strings.Cut(string(line[:min(len(line), maxListLine)]), "\t")
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 1 || n > 1000 {
			l.refuse(value, fmt.Errorf("no number of lists: %q", shorten(count)))
			return nil
		}
		s := statements[n]
		if s == nil {
			votes := malicious
			if n < ipsumSure {
				votes = undecided
			}
			s = l.statement(votes, intel.Report{Tags: []string{listsTag(n)}})
			statements[n] = s
		}
		return l.addTyped(value, anIP|aNetwork, s)
	})
}

// listsTag tells on how many lists an address stands.
func listsTag(n int) string {
	if n == 1 {
		return "on 1 list"
	}
	return fmt.Sprintf("on %d lists", n)
}
