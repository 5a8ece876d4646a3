package local

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"iocpipe/extract"
	"iocpipe/intel"
)

// storeOf returns a store of feeds, which are given as name and content in turn, and fails when a line is refused.
func storeOf(t testing.TB, feeds ...string) *Store {
	t.Helper()
	b := newBuilder("")
	for i := 0; i < len(feeds); i += 2 {
		if err := b.load(strings.NewReader(feeds[i+1]), feeds[i]); err != nil {
			t.Fatal(err)
		}
	}
	return built(t, b)
}

// built returns the store of b's entries.
func built(t testing.TB, b *builder) *Store {
	t.Helper()
	seg, err := segmentOf(b)
	if err != nil {
		t.Fatal(err)
	}
	return storeOfSegment(seg)
}

func keyOf(t testing.TB, value string) extract.Key {
	t.Helper()
	key, ok := extract.ParseKey(value)
	if !ok {
		t.Fatalf("%q is no indicator", value)
	}
	return key
}

// told is what a finding says, in short: verdict and source, and for relations their kind and via.
func told(f intel.Finding) string {
	switch f.Verdict {
	case intel.NoVerdict:
		return ""
	case intel.Related:
		return "related by " + f.Relation + " of " + f.Via.Value + " in " + f.Source
	}
	return f.Verdict.String() + " in " + f.Source
}

const (
	malicious = `,"response_code":"1","votes":-1`
	benign    = `,"response_code":"1","votes":1`
	tied      = `,"response_code":"1","votes":0`
)

// line returns a report line about value.
func line(value, rest string) string { return `{"value":"` + value + `"` + rest + "}\n" }

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name  string
		feeds []string
		want  map[string]string // by the value that is asked about
	}{
		{"a list covers its values alone", []string{"a", "203.0.113.7\nevil.test\njoe@mail.test\n"}, map[string]string{
			"203.0.113.7": "malicious in a", "::ffff:203.0.113.7": "malicious in a", "203.0.113.8": "",
			"evil.test": "malicious in a", "EVIL.test.": "malicious in a", "vil.test": "", "test.evil": "",
			"joe@mail.test": "malicious in a", "mail.test": "", "jim@mail.test": "",
		}},
		{"private and documentation addresses are used", []string{"a", "10.0.0.1\n192.168.0.0/16\nfe80::1\n::1"},
			map[string]string{
				"10.0.0.1": "malicious in a", "192.168.3.4": "malicious in a", "fe80::1%eth0": "malicious in a",
				"::1": "malicious in a",
			}},
		{"hashes", []string{"a", "D00F9E70A3E0FF21436AFD012821B847\n"}, map[string]string{
			"d00f9e70a3e0ff21436afd012821b847": "malicious in a", "d00f9e70a3e0ff21436afd012821b848": "",
		}},
		{"networks", []string{"a",
			"198.51.100.0/24\n2001:db8::/32\n::ffff:192.0.2.0/120\n10.1.2.3/16\n198.51.100.0/30"}, map[string]string{
			"198.51.100.0": "malicious in a", "198.51.100.255": "malicious in a", "198.51.101.0": "",
			"2001:db8:ffff::1": "malicious in a", "2001:db9::1": "",
			"192.0.2.200": "malicious in a", "192.0.3.0": "", "10.1.255.255": "malicious in a",
		}},
		{"the longest network answers", []string{"wide", "10.0.0.0/8", "narrow", "10.1.0.0/16", "host", "10.1.1.1/32"},
			map[string]string{
				"10.0.0.0": "malicious in wide", "10.1.0.0": "malicious in narrow", "10.1.1.1": "malicious in host",
				"10.1.1.2": "malicious in narrow", "10.2.0.1": "malicious in wide", "9.255.255.255": "", "11.0.0.1": "",
			}},
		{"a wildcard covers what is below", []string{"a", "*.evil.test"}, map[string]string{
			"www.evil.test": "malicious in a", "a.b.evil.test": "malicious in a", "evil.test": "", "notevil.test": "",
		}},
		{"a wildcard may name a public suffix", []string{"a", "*.duckdns.org"},
			map[string]string{"x.duckdns.org": "malicious in a"}},
		{"a domain relates what is below", []string{"a", "evil.test"}, map[string]string{
			"a.b.evil.test": "related by parent of evil.test in a", "evil.test.good.test": "",
		}},
		{"of parents the nearest", []string{"a", "evil.test\nb.evil.test"}, map[string]string{
			"c.b.evil.test": "related by parent of b.evil.test in a",
			"c.evil.test":   "related by parent of evil.test in a",
		}},
		{"a wildcard says more than a nearer parent", []string{"a", "b.evil.test", "b", "*.evil.test"},
			map[string]string{
				"a.b.evil.test": "malicious in b",
			}},
		{"no parent that is a public suffix", []string{"a", "co.uk\ngithub.io"}, map[string]string{
			"good.co.uk": "", "good.github.io": "", "github.io": "malicious in a",
		}},
		{"no parent behind a public suffix", []string{"a", "amazonaws.com"}, map[string]string{
			"bucket.s3.amazonaws.com": "", "amazonaws.com": "malicious in a",
			"aws.amazonaws.com": "related by parent of amazonaws.com in a",
		}},
		{"a parent that is not malicious", []string{"a", line("good.test", benign) + line("tied.test", tied)},
			map[string]string{
				"www.good.test": "", "www.tied.test": "", "good.test": "benign in a", "tied.test": "undecided in a",
			}},
		{"URLs", []string{"a",
			"http://evil.test/login\nhttp://198.51.100.40:8080/panel/\n" +
				"https://[2001:db8::7]:8443/\nftp://u:p@files.test:21"}, map[string]string{
			"evil.test": "related by url of http://evil.test/login in a", "www.evil.test": "",
			"198.51.100.40": "malicious in a", "2001:db8::7": "malicious in a",
			"files.test": "related by url of ftp://u:p@files.test:21 in a",
		}},
		{"of two URLs the first", []string{"a", "http://evil.test/1\nhttp://evil.test/2", "b", "http://evil.test/3"},
			map[string]string{
				"evil.test": "related by url of http://evil.test/1 in a",
			}},
		{"a URL and an entry", []string{"a", "http://evil.test/1", "b", "evil.test"},
			map[string]string{"evil.test": "malicious in b"}},
		{"a URL and a benign report", []string{"a", "http://good.test/1", "b", line("good.test", benign)},
			map[string]string{
				"good.test": "benign in b",
			}},
		{"a URL says more than a parent", []string{"a", "evil.test\nhttp://www.evil.test/1"}, map[string]string{
			"www.evil.test": "related by url of http://www.evil.test/1 in a",
		}},
		{"URLs as browsers forgive them", []string{"a", `http://one.test?q=http://x.test/` + "\n" +
			`http://two.test\path` + "\nhttp://good.test@three.test/%zz%\nfour.test/a//b"}, map[string]string{
			"one.test":   "related by url of http://one.test?q=http://x.test/ in a",
			"two.test":   `related by url of http://two.test\path in a`,
			"three.test": "related by url of http://good.test@three.test/%zz% in a",
			"four.test":  "related by url of four.test/a//b in a",
			"x.test":     "", "good.test": "",
		}},
		{"hosts with ports", []string{"a", "203.0.113.7:443\n[2001:db8::7]:80\n[2001:db8::8]\nevil.test:8080"},
			map[string]string{
				"203.0.113.7": "malicious in a", "2001:db8::7": "malicious in a", "2001:db8::8": "malicious in a",
				"evil.test": "malicious in a",
			}},
		{"defanged", []string{"a",
			"203[.]0[.]113[.]7\nhxxp://evil[.]example/x\njoe[@]mail[.]example\n198[.]51[.]100[.]0/24\n" +
				"port(.)example:443\nhxxps[://]203[.]0[.]113[.]9/a\nhxxp[:]//other[.]example:80/y"}, map[string]string{
			"203.0.113.7": "malicious in a", "evil.example": "related by url of http://evil.example/x in a",
			"joe@mail.example": "malicious in a", "198.51.100.9": "malicious in a", "port.example": "malicious in a",
			"203.0.113.9": "malicious in a", "other.example": "related by url of http://other.example:80/y in a",
		}},
		{"comments, blanks and endings",
			[]string{"a", "\ufeff# head\r\n\r\n; old\r\n  203.0.113.7\t# why\r\nevil.test ; see\nlast.test"},
			map[string]string{
				"203.0.113.7": "malicious in a", "evil.test": "malicious in a", "last.test": "malicious in a",
			}},
		{"of two feeds that agree the first", []string{"a", "evil.test\n*.evil.test\n10.0.0.0/8", "b",
			"evil.test\n*.evil.test\n10.0.0.0/8"}, map[string]string{
			"evil.test": "malicious in a", "www.evil.test": "malicious in a", "10.0.0.1": "malicious in a",
		}},
		{"benign votes hide no list", []string{"a", line("evil.test", benign), "b", "evil.test"},
			map[string]string{"evil.test": "malicious in b"}},
		{"a list is not hidden by benign votes", []string{"a", "evil.test", "b", line("evil.test", benign)},
			map[string]string{"evil.test": "malicious in a"}},
		{"benign votes hide no network and no wildcard",
			[]string{"a", line("10.0.0.1", benign) + line("w.evil.test", benign), "b",
				"10.0.0.0/8\n*.evil.test"}, map[string]string{
				"10.0.0.1": "malicious in b", "w.evil.test": "malicious in b",
			}},
		{"a direct answer replaces the parent", []string{"a", "evil.test\n" + line("www.evil.test", tied)},
			map[string]string{
				"www.evil.test": "undecided in a",
			}},
		{"a report of nothing says nothing", []string{"a", "evil.test\n" +
			line("www.evil.test", `,"response_code":"0"`) + line("b.test", `,"response_code":"0"`)}, map[string]string{
			"www.evil.test": "related by parent of evil.test in a", "b.test": "",
		}},
		{"what a malicious report names", []string{"a", line("evil.test", malicious+
			`,"resolutions":[{"last_resolved":"2020-01-05","ip_address":"198.51.100.1"}],`+
			`"hashes":["d00f9e70a3e0ff21436afd012821b847"],`+
			`"emails":["joe@mail.test"],"subdomains":["www.evil.test","evil.test"]`)}, map[string]string{
			"198.51.100.1":                     "related by resolution of evil.test in a",
			"d00f9e70a3e0ff21436afd012821b847": "related by hash of evil.test in a",
			"joe@mail.test":                    "related by email of evil.test in a",
			"www.evil.test":                    "related by subdomain of evil.test in a",
			"evil.test":                        "malicious in a", "mail.test": "",
		}},
		{"what other reports name", []string{"a", line("a.test", benign+`,"subdomains":["x.a.test"]`) +
			line("b.test", tied+`,"subdomains":["x.b.test"]`)}, map[string]string{
			"x.a.test": "", "x.b.test": "",
		}},
		{"a report behind a list still names", []string{"a", "evil.test", "b",
			line("evil.test", malicious+`,"emails":["joe@mail.test"]`)}, map[string]string{
			"evil.test": "malicious in a", "joe@mail.test": "related by email of evil.test in b",
		}},
		{"of two that name the first", []string{"a", line("one.test", malicious+`,"emails":["joe@mail.test"]`), "b",
			line("two.test", malicious+`,"emails":["joe@mail.test"]`)}, map[string]string{
			"joe@mail.test": "related by email of one.test in a",
		}},
		{"named and reported", []string{"a", line("evil.test", malicious+`,"subdomains":["good.evil.test"]`), "b",
			line("good.evil.test", benign)}, map[string]string{
			"good.evil.test": "benign in b",
		}},
		{"addresses of no host", []string{"a", line("evil.test",
			malicious+`,"resolutions":[{"ip_address":"127.0.0.1"},{"ip_address":"0.0.0.0"},`+
				`{"ip_address":"::1"},{"ip_address":"224.0.0.1"},`+
				`{"ip_address":"255.255.255.255"},{"ip_address":"192.168.0.9"}]`)}, map[string]string{
			"127.0.0.1": "", "0.0.0.0": "", "::1": "", "224.0.0.1": "", "255.255.255.255": "",
			"192.168.0.9": "related by resolution of evil.test in a",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := storeOf(t, tt.feeds...)
			for value, want := range tt.want {
				if got := told(s.Find(keyOf(t, value))); got != want {
					t.Errorf("%s: got %q, want %q", value, got, want)
				}
			}
		})
	}
}

func TestFindSaysWhoAndWhen(t *testing.T) {
	s := storeOf(t, "feed", line("evil.test",
		malicious+`,"resolutions":[{"last_resolved":"2020-01-05","ip_address":"198.51.100.1"}]`))
	direct := s.Find(keyOf(t, "evil.test"))
	if direct.Origin != intel.FromLocal || direct.Report.Votes != -1 || len(direct.Report.Resolutions) != 1 {
		t.Errorf("direct: got %+v", direct)
	}
	related := s.Find(keyOf(t, "198.51.100.1"))
	if related.Origin != intel.FromLocal || related.Report != direct.Report || related.Via != keyOf(t, "evil.test") ||
		related.Seen.Format("2006-01-02") != "2020-01-05" {
		t.Errorf("related: got %+v", related)
	}
}

func TestAntivirus(t *testing.T) {
	s := storeOf(t, "a", `{"type":"antivirus","value":"Trojan.Agent"`+malicious+"}")
	if got := told(s.Find(extract.Key{Type: extract.Antivirus, Value: "trojan.agent"})); got != "malicious in a" {
		t.Errorf("got %q", got)
	}
}

func TestEmptyStore(t *testing.T) {
	var none *Store
	for _, s := range []*Store{none, new(Store), storeOf(t), Join(none)} {
		if f := s.Find(keyOf(t, "203.0.113.7")); f != (intel.Finding{}) || s.Len() != 0 {
			t.Errorf("got %v, %d entries", f, s.Len())
		}
	}
}

func TestLenCountsWhatIsListed(t *testing.T) {
	s := storeOf(t, "a", "203.0.113.7\n203.0.113.7\n*.evil.test\n10.0.0.0/8\n10.1.1.1/8\nhttp://name.test/\n"+
		line("evil.test", malicious+`,"subdomains":["www.evil.test"]`)+line("none.test", `,"response_code":"0"`))
	if got := s.Len(); got != 4 {
		t.Errorf("got %d, want 4", got)
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	s := storeOf(t, "a", "203.0.113.7\nevil.test\n*.bad.test\n198.51.100.0/24\n2001:db8::/32\n"+
		line("named.test", malicious+`,"emails":["joe@mail.test"]`))
	for _, value := range []string{"203.0.113.7", "192.0.2.1", "198.51.100.9", "2001:db8::9", "evil.test",
		"www.good.test",
		"x.bad.test", "good.test", "joe@mail.test", "d00f9e70a3e0ff21436afd012821b847"} {
		key := keyOf(t, value)
		if n := testing.AllocsPerRun(100, func() { s.Find(key) }); n != 0 {
			t.Errorf("%s: %v allocations", value, n)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	var networks strings.Builder // a thousand of them, of 15 lengths
	for i := range 1000 {
		fmt.Fprintf(&networks, "%d.%d.0.0/%d\n", 20+i%200, i%251, 10+i%15)
	}
	s := storeOf(b, "a", "203.0.113.7\nevil.test\n*.bad.test\n"+networks.String())
	for _, value := range []string{"192.0.2.1", "198.51.100.9", "2001:db9::1", "www.good.test", "www.evil.test",
		"d00f9e70a3e0ff21436afd012821b847"} {
		key := keyOf(b, value)
		b.Run(value, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Find(key)
			}
		})
	}
}

// TestSmallestNetwork compares the search with a look at every network.
func TestSmallestNetwork(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(4)), byte(random.IntN(256))})
	}
	for range 200 {
		var feeds []string
		var all []netip.Prefix
		for i := range random.IntN(30) {
			p := netip.PrefixFrom(address(), 20+random.IntN(13)).Masked()
			all = append(all, p)
			feeds = append(feeds, fmt.Sprint(i), p.String())
		}
		s := storeOf(t, feeds...)
		for range 50 {
			addr := address()
			want, bits := "", -1
			for i, p := range all {
				if p.Contains(addr) && p.Bits() > bits {
					want, bits = fmt.Sprint("malicious in ", i), p.Bits()
				}
			}
			if got := told(s.Find(extract.Key{Type: extract.IP, Value: addr.String()})); got != want {
				t.Fatalf("%v in %v: got %q, want %q", addr, all, got, want)
			}
		}
	}
}
