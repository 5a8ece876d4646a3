package export

import (
	"strconv"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

// plain writes one value per line. To be listed means to be malicious, so that nothing else is.
type plain struct{}

func newPlain(Options) encoder { return plain{} }

func (plain) open(dst []byte) []byte  { return dst }
func (plain) close(dst []byte) []byte { return dst }

func (plain) record(dst []byte, r *record) ([]byte, Reason) {
	switch value := r.Text(); {
	case r.verdict != intel.Malicious:
		return dst, NotMalicious
	case r.Key.Type == extract.Antivirus: // its value may look like anything
		return dst, Antivirus
	case strings.ContainsRune(value, ' '):
		return dst, Unwritable
	default:
		return append(append(dst, value...), '\n'), ""
	}
}

// v2 writes report lines, which hold all that an entry says.
type v2 struct{ plain }

func newV2(Options) encoder { return v2{} }

func (v2) record(dst []byte, r *record) ([]byte, Reason) {
	return append(intel.AppendEntry(dst, &r.voices[0]), '\n'), ""
}

// A table writes rows of CSV (RFC 4180).
type table struct {
	header []string // nil for none
	row    func(*record) ([]string, Reason)
}

func (t table) open(dst []byte) []byte {
	if t.header == nil {
		return dst
	}
	return appendRow(dst, t.header)
}

func (t table) close(dst []byte) []byte { return dst }

func (t table) record(dst []byte, r *record) ([]byte, Reason) {
	row, why := t.row(r)
	if why != "" {
		return dst, why
	}
	return appendRow(dst, row), ""
}

func appendRow(dst []byte, row []string) []byte {
	return append(appendCells(dst, row, ','), '\n')
}

// appendCells appends a row without its line ending. (encoding/csv needs a buffer of 4 KiB for each writer, and a
// writer for each cell that is itself a row: half of an export's time.)
func appendCells(dst []byte, row []string, comma byte) []byte {
	for i, cell := range row {
		if i > 0 {
			dst = append(dst, comma)
		}
		if strings.IndexByte(cell, comma) >= 0 || strings.ContainsAny(cell, "\"\r\n") || strings.HasPrefix(cell, " ") {
			cell = quoted(cell)
		}
		dst = append(dst, cell...)
	}
	return dst
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// newCSV makes the table that intel import reads, too. A cell with several values is itself a row of CSV, of tags with
// commas and of references with blanks between them, so that values may hold these. Cells that a spreadsheet would run
// are guarded.
func newCSV(Options) encoder {
	return table{
		header: []string{
			"indicator", "type", "verdict", "votes", "first_seen", "last_seen", "expires", "source", "tags", "references",
			"permalink", "note", "by", "added", "via", "relation",
		},
		row: func(r *record) ([]string, Reason) {
			e := r.voices[0]
			votes := ""
			if e.Report.Voted {
				votes = strconv.Itoa(int(e.Report.Votes))
			}
			return []string{
				guarded(r.Text()), r.kind(), r.verdict.String(), votes, moment(e.Report.First), moment(e.Report.Last),
				moment(e.Expires), guarded(e.Source), guarded(cell(e.Report.Tags, ',')), guarded(cell(e.Report.References, ' ')),
				guarded(e.Report.Permalink), guarded(e.Note), guarded(e.By), moment(e.Added),
				guarded(e.Via.Value), e.Relation,
			}, ""
		},
	}
}

// cell returns a list as one cell: a row of CSV with that comma, without its line ending.
func cell(list []string, comma byte) string { return string(appendCells(nil, list, comma)) }

// guarded returns a cell of free text as a spreadsheet shows it: behind an apostrophe when it would be run as a
// formula otherwise. A text that begins with an apostrophe gets one, too, so that whoever takes away the first
// apostrophe has the text again. Control characters but for tabs and line endings become blanks.
func guarded(text string) string {
	text = strings.Map(func(c rune) rune {
		if isControl(c) && c != '\n' && c != '\t' {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\ufffd"))
	if text != "" && strings.IndexByte("=+-@\t\n'", text[0]) >= 0 {
		return "'" + text
	}
	return text
}

// newLookupCSV makes the table that Logstash's translate (whose dictionary is the first two columns, read line by
// line) and Vector's enrichment tables read. They match whole values, which therefore stand as they are.
func newLookupCSV(Options) encoder {
	return table{
		header: []string{"indicator", "verdict", "type", "source", "tags", "reference"},
		row: func(r *record) ([]string, Reason) {
			return []string{
				r.Text(), r.verdict.String(), r.kind(), guarded(oneLine(cell(r.sources(), ','))),
				guarded(oneLine(cell(r.tags(), ','))), guarded(oneLine(firstOf(r.references()))),
			}, exact(r)
		},
	}
}

// exact returns why a table that matches whole values cannot hold r.
func exact(r *record) Reason {
	switch {
	case r.Net.IsValid():
		return Networks
	case r.Below:
		return NamesBelow
	}
	return ""
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
