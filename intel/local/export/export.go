// Package export writes what is known as other tools read it: as lists, as the documents and bundles of threat
// intelligence platforms, and as the lookup tables of shippers and SIEMs. Every export is complete or an error, holds
// each value once (csv and v2: once for each source that lists it), is the same for the same entries and time, and
// counts what its format cannot hold. Where entries come from is the business of intel/local.
package export

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A Format is what an export is written as.
type Format string

// The formats.
const (
	Plain       Format = "plain"          // one value per line
	CSV         Format = "csv"            // all that fits a table, with a header; read by intel import, too
	V2          Format = "v2"             // report lines (NDJSON): loses nothing
	STIX        Format = "stix"           // a STIX 2.1 bundle of indicators
	MISP        Format = "misp"           // a MISP event; in a folder a MISP feed
	ECS         Format = "ecs-indicator"  // indicator documents of the Elastic Common Schema (NDJSON)
	Splunk      Format = "splunk-intel"   // Splunk Enterprise Security's CSV; in a folder a file per collection
	WazuhCDB    Format = "wazuh-cdb"      // a Wazuh CDB list
	LookupCSV   Format = "lookup-csv"     // CSV for Logstash's translate and Vector's enrichment tables
	RsyslogJSON Format = "rsyslog-lookup" // a lookup table of rsyslog, of type string
	SyslogNG    Format = "syslog-ng"      // a database of syslog-ng's add-contextual-data()
)

// Formats are all formats, in the order in which help lists them.
var Formats = []Format{
	Plain, CSV, V2, STIX, MISP, ECS, Splunk, WazuhCDB, LookupCSV, RsyslogJSON, SyslogNG,
}

// ParseFormat returns the format of that name.
func ParseFormat(name string) (Format, error) {
	if f := Format(name); slices.Contains(Formats, f) {
		return f, nil
	}
	var names []string
	for _, f := range Formats {
		names = append(names, string(f))
	}
	return "", fmt.Errorf("unknown format %q: use one of %s", name, strings.Join(names, ", "))
}

// Options say what is exported.
type Options struct {
	Verdicts []intel.Verdict // only what is so; nil for what is malicious
	Types    extract.TypeSet // only these; 0 for all. Networks are addresses, URLs have the type of their host
	Since    time.Time       // not what was seen and added before; what has no date is exported always

	// Now is the moment of the export: what has expired by then is not exported, and documents that need a time bear
	// it. Required.
	Now time.Time

	// Bulk writes ecs-indicator as the body of Elasticsearch's _bulk: before each document a line that gives it the
	// same _id in every export, so that the next one updates it.
	Bulk bool
}

// A Reason is why a value was left out: what it is, for a sentence such as "12 networks left out".
type Reason string

// What formats leave out.
const (
	Networks     Reason = "networks"
	IPv6Networks Reason = "IPv6 networks"
	NamesBelow   Reason = "names below a domain (*.domain)"
	Antivirus    Reason = "detection names"
	NotMalicious Reason = "values that are not malicious" // where to be listed means to be malicious
	Unwritable   Reason = "values with characters that the format cannot hold"
	TooLong      Reason = "values that are too long"
)

// elsewhere is the reason of a file of several that is not the one for a value.
const elsewhere Reason = "elsewhere"

// A Result says what became of the values.
type Result struct {
	Written int            // values; in csv and v2 what each source says of them
	Skipped int            // values that Options leaves out
	LeftOut map[Reason]int // values that the format cannot hold
	Reduced int            // of Written: without the relations that their reports name, which the format cannot hold
}

// Write writes entries to w in one piece. It streams: no more is held than what is said of one value. For that,
// entries about one value (or one host, with its URLs) stand together, as a store yields them; otherwise a value may be
// written more than once. An error of entries ends it and is returned; what was written then is not a whole export.
func Write(w io.Writer, format Format, entries iter.Seq2[intel.Entry, error], opt Options) (Result, error) {
	k, ok := kinds[format]
	if !ok {
		return Result{}, fmt.Errorf("unknown format %q", string(format))
	}
	return run(k, opt, entries, []*target{{encoder: k.encoder(opt), w: w}})
}

// A kind is how a format is written.
type kind struct {
	encoder func(Options) encoder
	each    bool // each source's word is a record of its own
	hosts   bool // a table of things that are met: an address that is the host of a listed URL is one, too
	whole   bool // holds the relations of reports

	files func(Options) []file // the files of a folder; nil when there is only one file
}

var kinds = map[Format]kind{
	Plain:       {encoder: newPlain},
	CSV:         {encoder: newCSV, each: true},
	V2:          {encoder: newV2, each: true, whole: true},
	STIX:        {encoder: newSTIX},
	MISP:        {encoder: newMISP, files: mispFeed},
	ECS:         {encoder: newECS},
	Splunk:      {encoder: newSplunk, hosts: true, files: splunkFiles},
	WazuhCDB:    {encoder: newCDB, hosts: true},
	LookupCSV:   {encoder: newLookupCSV, hosts: true},
	RsyslogJSON: {encoder: newRsyslog, hosts: true},
	SyslogNG:    {encoder: newSyslogNG, hosts: true},
}

// A file is one file of a format that has several.
type file struct {
	name    string
	encoder encoder
}

// An encoder appends the parts of one file.
type encoder interface {
	open(dst []byte) []byte
	record(dst []byte, r *record) ([]byte, Reason) // a record that it cannot hold appends nothing
	close(dst []byte) []byte
}

// A target is one file while it is written.
type target struct {
	encoder
	w   io.Writer
	buf []byte
}

// fullBuffer is how much of a file is gathered before it is written, in bytes.
const fullBuffer = 64 << 10

func (t *target) flush(atLeast int) error {
	if len(t.buf) < atLeast {
		return nil
	}
	_, err := t.w.Write(t.buf)
	t.buf = t.buf[:0]
	return err
}

// An exporter is one export while it is written.
type exporter struct {
	kind
	Options
	targets []*target
	result  Result
}

func run(k kind, opt Options, entries iter.Seq2[intel.Entry, error], targets []*target) (Result, error) {
	if opt.Verdicts == nil {
		opt.Verdicts = []intel.Verdict{intel.Malicious}
	}
	if opt.Types == 0 {
		opt.Types = extract.AllTypes
	}
	x := &exporter{kind: k, Options: opt, targets: targets, result: Result{LeftOut: map[Reason]int{}}}
	err := x.run(entries)
	return x.result, err
}

func (x *exporter) run(entries iter.Seq2[intel.Entry, error]) error {
	for _, t := range x.targets {
		t.buf = t.open(t.buf)
	}
	for group, err := range groups(entries) {
		if err != nil {
			return err
		}
		for _, about := range x.values(group) {
			if err := x.value(about); err != nil {
				return err
			}
		}
	}
	for _, t := range x.targets {
		t.buf = t.close(t.buf)
		if err := t.flush(0); err != nil {
			return err
		}
	}
	return nil
}

// value writes what is known of one value.
func (x *exporter) value(about []intel.Entry) error {
	r := join(about)
	if !x.wants(r) {
		x.result.Skipped++
		return nil
	}
	if !x.each {
		return x.write(r)
	}
	for _, e := range about { // those that were outvoted, too, if they are wanted
		verdict := verdictOf(e)
		if !slices.Contains(x.Verdicts, verdict) {
			continue
		}
		if err := x.write(&record{Subject: e.Subject, verdict: verdict, voices: []intel.Entry{e}}); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) wants(r *record) bool {
	if !slices.Contains(x.Verdicts, r.verdict) || !x.Types.Has(r.Type()) {
		return false
	}
	newest := r.newest()
	return newest.IsZero() || !newest.Before(x.Since)
}

func (x *exporter) write(r *record) error {
	why := Unwritable
	if isText(r.Text()) {
		why = elsewhere
		for _, t := range x.targets {
			var reason Reason
			if t.buf, reason = t.record(t.buf, r); reason == "" || why == elsewhere {
				why = reason
			}
			if err := t.flush(fullBuffer); err != nil {
				return err
			}
		}
	}
	if why != "" {
		x.result.LeftOut[why]++
		return nil
	}
	x.result.Written++
	if !x.whole && r.hasRelations() {
		x.result.Reduced++
	}
	return nil
}
