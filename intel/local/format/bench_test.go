package format

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"iocpipe/intel"
)

// bulk is how lists of any length are made: what begins one, its records, what stands between them, and what ends it.
type bulk struct {
	kind              Kind
	begin, between    string
	record            func(b *strings.Builder, i int)
	end               string
	entriesPerRecords int
}

func address(i int) string { return fmt.Sprintf("%d.%d.%d.%d", 1+i>>24, i>>16&255, i>>8&255, i&255) }

// bulks are lists of all formats that can be long.
var bulks = []bulk{
	{Plain, "", "\n", func(b *strings.Builder, i int) {
		switch i % 3 {
		case 0:
			b.WriteString(address(i))
		case 1:
			fmt.Fprintf(b, "host%d.evil%d.com", i, i%1000)
		default:
			fmt.Fprintf(b, "%064x", i*7919)
		}
	}, "\n", 1},
	{Reports, "", "\n", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `{"type":"domain","value":"host%d.evil.com","response_code":"1","resolutions":[{"last_resolved":`+
			`"2026-01-02","ip_address":"%s"}],"hashes":["%032x"],"emails":[],"subdomains":[],"references":[],"votes":-1,`+
			`"permalink":"https://www.threatcrowd.org/domain.php?domain=host%d.evil.com"}`, i, address(i), i, i)
	}, "\n", 1},
	{CSV, "indicator,type,valid_until,reference,tags\n", "\n", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `host%d.evil.com,domain,2027-12-31,https://example.org/r/%d,"c2,botnet"`, i, i)
	}, "\n", 1},
	{URLhaus, "# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n", "\n",
		func(b *strings.Builder, i int) {
			fmt.Fprintf(b, `"%d","2026-05-01 08:00:00","http://%s:8080/i","online","2026-05-01 09:00:00","malware_download",`+
				`"elf,Mozi","https://urlhaus.abuse.ch/url/%d/","x"`, i, address(i), i)
		}, "\n", 1},
	{ThreatFox, "{", ",", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `"%d":[{"ioc_value":"%s:443","ioc_type":"ip:port","threat_type":"botnet_cc","malware":"win.x",`+
			`"malware_printable":"X","first_seen_utc":"2026-08-01 10:00:00","last_seen_utc":null,"confidence_level":75,`+
			`"is_compromised":false,"reference":null,"tags":"a,b","anonymous":"0","reporter":"t"}]`, i, address(i))
	}, "}", 1},
	{MalwareBazaar, `# "first_seen_utc","sha256_hash","md5_hash","sha1_hash","reporter","signature"` + "\n", "\n",
		func(b *strings.Builder, i int) {
			fmt.Fprintf(b, `"2026-05-01 08:00:00", "%064x", "%032x", "%040x", "r", "X"`, i+1, i+1, i+1)
		}, "\n", 3},
	{SpamhausDROP, "", "\n", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `{"cidr":"%s/32","sblid":"SBL%d","rir":"apnic"}`, address(i), i)
	}, "\n", 1},
	{Hosts, "", "\n", func(b *strings.Builder, i int) { fmt.Fprintf(b, "0.0.0.0 host%d.evil.com", i) }, "\n", 1},
	{MISP, `{"Event":{"info":"X","timestamp":"1788000000","Attribute":[`, ",", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `{"category":"Network activity","comment":"","disable_correlation":false,"timestamp":"1788000000",`+
			`"to_ids":true,"type":"domain","uuid":"00000000-0000-4000-8000-%012x","value":"host%d.evil.com"}`, i, i)
	}, `],"Tag":[{"name":"tlp:clear"}]}}`, 1},
	{Warninglist, `{"list":[`, ",", func(b *strings.Builder, i int) { fmt.Fprintf(b, `"host%d.good.com"`, i) },
		`],"type":"string","name":"x"}`, 1},
	{STIX, `{"type":"bundle","id":"bundle--x","objects":[`, ",", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012x",`+
			`"created":"2026-08-01T00:00:00.000Z","modified":"2026-08-01T00:00:00.000Z","indicator_types":["malicious-activity"],`+
			`"pattern":"[domain-name:value = 'host%d.evil.com']","pattern_type":"stix","valid_from":"2026-08-01T00:00:00Z"}`, i, i)
	}, "]}", 1},
	{OTX, `{"id":"5f2c6fa2a1b2c3d4e5f60718","name":"X","indicators":[`, ",", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `{"id":%d,"indicator":"host%d.evil.com","type":"hostname","title":"","description":"",`+
			`"created":"2026-05-19T15:37:04","is_active":1,"expiration":null,"content":""}`, i, i)
	}, `]}`, 1},
	{Maltrail, "", "\n", func(b *strings.Builder, i int) {
		if i%5 == 0 {
			fmt.Fprintf(b, "\n# Reference: https://example.org/%d\n\n", i)
		}
		fmt.Fprintf(b, "%s:8080", address(i))
	}, "\n", 1},
	{IPsum, "", "\n", func(b *strings.Builder, i int) { fmt.Fprintf(b, "%s\t%d", address(i), 1+i%9) }, "\n", 1},
	{OpenIOC, `<ioc><definition><Indicator operator="OR">`, "\n", func(b *strings.Builder, i int) {
		fmt.Fprintf(b, `<IndicatorItem id="b" condition="is"><Context document="Network" search="Network/DNS" type="mir" />`+
			`<Content type="string">host%d.evil.com</Content></IndicatorItem>`, i)
	}, "</Indicator></definition></ioc>", 1},
}

// A bulkReader makes a list of about so many bytes while it is read.
type bulkReader struct {
	bulk
	left int // bytes
	n    int // records
	made strings.Builder
	rest string
}

func (r *bulkReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.made.Reset()
		if r.n == 0 {
			r.made.WriteString(r.begin)
		}
		for r.left > 0 && r.made.Len() < 32<<10 {
			if r.n++; r.n > 1 {
				r.made.WriteString(r.between)
			}
			before := r.made.Len()
			r.record(&r.made, r.n)
			if r.left -= r.made.Len() - before; r.left <= 0 {
				r.made.WriteString(r.end)
			}
		}
		r.rest = r.made.String()
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestBulksAreTakenWhole(t *testing.T) {
	for _, bulk := range bulks {
		in := &bulkReader{bulk: bulk, left: 1 << 20}
		if slices.Contains([]Kind{MISP, Warninglist, STIX, OTX}, bulk.kind) {
			in.left += maxSpooled // so that it goes to a file
		}
		taken := 0
		kind, err := Read(in, Options{Now: now}, func(intel.Entry) error { taken++; return nil }, func(refused Refused) {
			t.Errorf("%s: refused %v", bulk.kind, refused)
		})
		if kind != bulk.kind || err != nil || taken != in.n*bulk.entriesPerRecords {
			t.Errorf("%s read as %s: %v, %d taken of %d records", bulk.kind, kind, err, taken, in.n)
		}
	}
}

// BenchmarkRead reads a list of 4 MB in each format.
func BenchmarkRead(b *testing.B) {
	for _, bulk := range bulks {
		b.Run(string(bulk.kind), func(b *testing.B) {
			data, err := io.ReadAll(&bulkReader{bulk: bulk, left: 4 << 20})
			if err != nil {
				b.Fatal(err)
			}
			content := string(data)
			entries := 0
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				entries = 0
				_, err = Read(strings.NewReader(content), Options{Now: now}, func(intel.Entry) error { entries++; return nil },
					func(refused Refused) { b.Fatal(refused) })
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)*float64(entries)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
