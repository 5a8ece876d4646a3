// Package format reads lists of intelligence in the formats in which they are published, as entries of package intel.
// It tells by content which format it has, streams files of any size, and says of each record that it does not take
// where it stands and why. What becomes of the entries is the business of intel/local.
package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"iocpipe/intel"
)

// A Kind is a format.
type Kind string

// The formats that are read.
const (
	Plain         Kind = "plain"         // one value per line
	Reports       Kind = "reports"       // report lines (NDJSON): answers of the ThreatCrowd API with the asked value
	CSV           Kind = "csv"           // rows with named columns
	URLhaus       Kind = "urlhaus"       // abuse.ch: URLs that spread malware (CSV, JSON, API)
	ThreatFox     Kind = "threatfox"     // abuse.ch: indicators of compromise (CSV, JSON, API)
	Feodo         Kind = "feodo"         // abuse.ch: servers of botnets (CSV, JSON)
	MalwareBazaar Kind = "malwarebazaar" // abuse.ch: samples (CSV, JSON, API)
	SpamhausDROP  Kind = "spamhaus-drop" // networks not to route (text, JSON lines)
	Hosts         Kind = "hosts"         // a hosts file that blocks names
	MISP          Kind = "misp"          // MISP events
	MISPFeed      Kind = "misp-feed"     // the manifest of a MISP feed, which lists nothing itself
	Warninglist   Kind = "warninglist"   // MISP's lists of what is harmless
	STIX          Kind = "stix"          // STIX 2.0 and 2.1 bundles
	OTX           Kind = "otx"           // pulses of AlienVault OTX, and exports of its indicators
	Maltrail      Kind = "maltrail"      // trails of Maltrail
	IPsum         Kind = "ipsum"         // addresses with the number of lists they stand on
	OpenIOC       Kind = "openioc"       // OpenIOC 1.0 and 1.1
)

// Options say how a list is read. Its zero value reads any format as it says of itself.
type Options struct {
	Source   string    // the name for the statements
	Kind     Kind      // the format; "" to tell by content
	Votes    *int8     // -1, 0 or 1 of all that is listed, whatever the format says; nil for the format's own
	Now      time.Time // the moment of reading, from which expiries count where the format gives no time
	AllowRed bool      // take what is marked TLP:RED
	Columns  []string  // the names of the columns of CSV that does not name them itself; none otherwise
}

// Refused is a record that was not taken.
type Refused struct {
	Where string // where it stands, such as "line 12" or "Event.Attribute[3]"
	Value string // what it says, cut to a readable length; may be empty
	Err   error  // why
}

// String returns the refusal as one line for people.
func (r Refused) String() string {
	if r.Value == "" {
		return fmt.Sprintf("%s: %v", r.Where, r.Err)
	}
	return fmt.Sprintf("%s: %v: %q", r.Where, r.Err, r.Value)
}

// Read reads the list r and calls take for each entry and refuse for each record that is refused, in the order of the
// list. It returns the format it was read as. r may be of any size: no more is held than one record and what the format
// says of all its records, and records have a bound. The error is one of reading, of take, which ends the reading, or
// of a file that is not of its kind as a whole; what was taken before it is good. Whether a list with many refusals is
// to be trusted is for [Judge].
//
// The files of an archive, as [Open] and [Decompress] give it, are lists of their own, each in its format.
func Read(r io.Reader, opt Options, take func(intel.Entry) error, refuse func(Refused)) (Kind, error) {
	if m := archiveIn(r); m != nil {
		return m.readLists(opt, take, refuse)
	}
	in := bufio.NewReaderSize(r, headSize)
	if mark, _ := in.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		in.Discard(len(byteOrderMark))
	}
	kind := opt.Kind
	if kind == "" && len(opt.Columns) > 0 {
		kind = CSV
	}
	if kind == "" {
		head, err := in.Peek(headSize)
		if err != nil && err != io.EOF && len(head) == 0 {
			return "", err
		}
		if kind, err = tell(head); err != nil {
			return "", err
		}
	}
	read, ok := readers[kind]
	if !ok {
		return kind, fmt.Errorf("unknown format %q", string(kind))
	}
	l := &list{Options: opt, kind: kind, take: take, refused: refuse}
	return kind, read(l, in)
}

// headSize is how much of a list is looked at to tell its format, in bytes.
const headSize = 64 << 10

const byteOrderMark = "\ufeff"

// readers are the readers of all formats.
var readers = map[Kind]func(l *list, in *bufio.Reader) error{
	Plain:         (*list).readPlain,
	Reports:       (*list).readPlain, // report lines may stand in any plain list
	CSV:           (*list).readCSV,
	URLhaus:       (*list).readAbuse,
	ThreatFox:     (*list).readAbuse,
	Feodo:         (*list).readAbuse,
	MalwareBazaar: (*list).readAbuse,
	SpamhausDROP:  (*list).readDROP,
	Hosts:         (*list).readHosts,
	MISP:          (*list).readMISP,
	MISPFeed:      (*list).readManifest,
	Warninglist:   (*list).readWarninglist,
	STIX:          (*list).readSTIX,
	OTX:           (*list).readOTX,
	Maltrail:      (*list).readMaltrail,
	IPsum:         (*list).readIPsum,
	OpenIOC:       (*list).readOpenIOC,
}

// Kinds returns the names of all formats, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(readers)) }

var (
	errNothingTaken = errors.New("nothing in it could be used")
	errMostRefused  = errors.New("more was refused than taken")
)

// Judge returns why a list is not to be trusted that gave so many entries and faults (see [Refused.Fault]): when nothing
// in it was of use, or more than half is bad. A list that replaces an older one had better be refused then.
func Judge(taken, faults int) error {
	switch {
	case taken == 0:
		return errNothingTaken
	case faults > taken:
		return errMostRefused
	}
	return nil
}

// A list is one list while it is read.
type list struct {
	Options
	kind    Kind
	take    func(intel.Entry) error
	refused func(Refused)
	where   func() string // of the record at hand
}

// refuse tells that the record at hand, or value in it, is not taken.
func (l *list) refuse(value string, err error) {
	l.refused(Refused{Where: l.where(), Value: shorten(value), Err: err})
}

// shorten cuts a value to what fits a line of an error.
func shorten(value string) string {
	const most = 80
	if len(value) <= most {
		return value
	}
	return strings.ToValidUTF8(value[:most], "") + "…"
}

// add takes value as a list writes it, of which the source says s, or refuses it. The error is that of take.
func (l *list) add(value string, s *intel.Statement) error { return l.addTyped(value, 0, s) }

// The votes of those who list something.
const (
	malicious int8 = -1
	undecided int8 = 0
	benign    int8 = 1
)

// statement returns what the source says: the report with these votes, or those that all of the list has.
func (l *list) statement(votes int8, report intel.Report) *intel.Statement {
	if l.Votes != nil {
		votes = *l.Votes
	}
	report.Known, report.Voted, report.Votes = true, true, votes
	return &intel.Statement{Source: l.Source, Report: report}
}
