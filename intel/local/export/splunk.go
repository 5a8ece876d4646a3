package export

import (
	"strconv"

	"iocpipe/extract"
	"iocpipe/intel"
)

// collections are the threat intelligence collections of Splunk Enterprise Security that hold what we know, with the
// headers of their lookup files: https://docs.splunk.com/Documentation/ES/7.0.2/Admin/Supportedthreatinteltypes.
var collections = []struct {
	file   string
	field  string // the column of the value
	header []string
	holds  func(*record) bool
}{
	{"ip_intel.csv", "ip", []string{"description", "ip", "weight"},
		func(r *record) bool { return r.Type() == extract.IP && r.URL == "" }},
	{"domain_intel.csv", "domain", []string{"description", "domain", "weight"},
		func(r *record) bool { return r.Type() == extract.Domain && r.URL == "" }},
	{"http_intel.csv", "url", []string{"description", "http_referrer", "http_user_agent", "url", "weight"},
		func(r *record) bool { return r.URL != "" }},
	{"file_intel.csv", "file_hash", []string{"description", "file_hash", "file_name", "weight"},
		func(r *record) bool { return r.Type().IsHash() }},
	{"email_intel.csv", "src_user", []string{"description", "src_user", "subject", "weight"},
		func(r *record) bool { return r.Type() == extract.Email }},
}

// newSplunk makes the one table with the columns of all collections that can be uploaded to Splunk as a threat
// intelligence file; a value stands in the column of its collection.
func newSplunk(Options) encoder {
	header := []string{"description", "ip", "domain", "url", "file_hash", "src_user", "weight"}
	return table{header, func(r *record) ([]string, Reason) {
		for _, c := range collections {
			if c.holds(r) {
				return splunkRow(header, c.field, r)
			}
		}
		return nil, Antivirus
	}}
}

// splunkFiles makes a lookup file for each collection.
func splunkFiles(Options) (files []file) {
	for _, c := range collections {
		files = append(files, file{c.file, table{c.header, func(r *record) ([]string, Reason) {
			switch {
			case c.holds(r):
				return splunkRow(c.header, c.field, r)
			case r.Type() == extract.Antivirus:
				return nil, Antivirus
			}
			return nil, elsewhere
		}}})
	}
	return files
}

func splunkRow(header []string, field string, r *record) ([]string, Reason) {
	switch {
	case r.Below:
		return nil, NamesBelow
	case r.verdict == intel.Benign: // all that is in a collection raises alerts
		return nil, NotMalicious
	}
	row := make([]string, len(header))
	for i, column := range header {
		switch column {
		case "description":
			row[i] = guarded(r.description(maxKeyword))
		case field:
			row[i] = r.Text()
		case "weight":
			row[i] = strconv.Itoa(splunkWeight(r.verdict))
		}
	}
	return row, ""
}

// splunkWeight returns the weight of a match, from 1 to 100; 60 is Splunk's default.
func splunkWeight(v intel.Verdict) int {
	switch v {
	case intel.Malicious:
		return 60
	case intel.Related, intel.Undecided:
		return 20
	}
	return 1
}
