package export

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/intel/local/format"
)

// What is exported as a list is imported again: the same values with the same verdicts and nothing refused, and of csv
// and v2 all that they hold.
func TestImportReadsIt(t *testing.T) {
	for _, tt := range []struct {
		format   Format
		kind     format.Kind
		verdicts []intel.Verdict                 // that the format tells apart
		restore  func(*intel.Statement)          // leaves what the format holds; nil where values are compared alone
		leaves   func(e intel.Entry) (left bool) // what the export leaves out
	}{
		{Plain, "plain", []intel.Verdict{intel.Malicious}, nil,
			func(e intel.Entry) bool { return e.Key.Type == extract.Antivirus || strings.Contains(e.Text(), " ") }},
		{CSV, "csv", everyVerdict, withoutRelations, nil},
		{V2, "reports", everyVerdict, func(*intel.Statement) {}, nil},
		{STIX, "stix", []intel.Verdict{intel.Malicious, intel.Undecided, intel.Benign}, nil,
			func(e intel.Entry) bool { return e.Key.Type == extract.Antivirus }},
		{MISP, "misp", []intel.Verdict{intel.Malicious, intel.Related, intel.Benign}, nil,
			func(e intel.Entry) bool { return e.Key.Type == extract.Antivirus || e.Below }},
	} {
		exported, _ := export(t, tt.format, known(), Options{Verdicts: tt.verdicts})
		var got, want []string
		kind, err := format.Read(strings.NewReader(exported), format.Options{Source: "again", Now: now},
			func(e intel.Entry) error {
				got = append(got, describe(e, tt.restore))
				return nil
			},
			func(r format.Refused) { t.Errorf("%s: refused: %v", tt.format, r) })
		if err != nil || kind != tt.kind {
			t.Errorf("%s: read as %s, %v", tt.format, kind, err)
		}
		for _, e := range known() {
			contested := tt.restore == nil && e.Key.Value == "evil.test" && e.Source == "warninglist" // outvoted
			if !isText(e.Text()) || e.Expired(now) || contested || !slices.Contains(tt.verdicts, verdictOf(e)) ||
				tt.leaves != nil && tt.leaves(e) {
				continue
			}
			said := *e.Statement
			said.Source = "again"
			want = append(want, describe(intel.Entry{Subject: e.Subject, Statement: &said}, tt.restore))
		}
		slices.Sort(got)
		slices.Sort(want)
		if tt.restore == nil { // one record for all that say so
			got, want = slices.Compact(got), slices.Compact(want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", tt.format, diff)
		}
	}
}

func describe(e intel.Entry, restore func(*intel.Statement)) string {
	text := fmt.Sprintf("%s %s %v", e.Text(), e.Type(), verdictOf(e))
	if restore == nil {
		return text
	}
	s := *e.Statement
	restore(&s)
	return text + " " + e.Relation + " " + e.Via.Value + " " + s.Source + " " + string(intel.AppendStatement(nil, &s))
}

func withoutRelations(s *intel.Statement) {
	r := &s.Report
	r.Resolutions, r.Subdomains, r.Domains, r.IPs, r.Hashes, r.Emails = nil, nil, nil, nil, nil, nil
	r.Scans, r.MD5, r.SHA1 = nil, "", ""
}
