package extract

import (
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for in, want := range map[string]Key{
		" 198.51.100.7 ":                         {IP, "198.51.100.7"},
		"2001:DB8:0:0::1":                        {IP, "2001:db8::1"},
		"::ffff:198.51.100.7":                    {IP, "198.51.100.7"},
		"fe80::1%eth0":                           {IP, "fe80::1"},
		"EXAMPLE.com.":                           {Domain, "example.com"},
		"bücher.de":                              {Domain, "xn--bcher-kva.de"},
		"_dmarc.example.com":                     {Domain, "_dmarc.example.com"},
		"dc01.corp":                              {Domain, "dc01.corp"},
		"John+Tag@Example.COM":                   {Email, "john+tag@example.com"},
		`"john doe"@example.com`:                 {Email, `"john doe"@example.com`},
		"john@[198.51.100.7]":                    {Email, "john@[198.51.100.7]"},
		"D41D8CD98F00B204E9800998ECF8427E":       {MD5, "d41d8cd98f00b204e9800998ecf8427e"},
		strings.Repeat("0a", 20):                 {SHA1, strings.Repeat("0a", 20)},
		strings.Repeat("0a", 32):                 {SHA256, strings.Repeat("0a", 32)},
		strings.Repeat("0a", 64):                 {SHA512, strings.Repeat("0a", 64)},
		strings.Repeat("a", 63) + ".example.com": {Domain, strings.Repeat("a", 63) + ".example.com"},
	} {
		if key, ok := ParseKey(in); !ok || key != want {
			t.Errorf("ParseKey(%q) = %v, %v, want %v", in, key, ok, want)
		}
	}
	for _, in := range []string{"", "x", "host", "198.51.100.256", "1.2.3", "198.51.100.07", "a b.com", "-a.com",
		"a-.com", "a..com", "com.",
		"http://example.com", "example.com/x", "example.com:80", "198.51.100.7:80", "198.51.100.0/24",
		"@example.com", "a@", "a@b@", "a@host",
		"a b@example.com", "example.1", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 200) + "com", "Trojan:Win32/X",
		"d41d8cd98f00b204e9800998ecf8427", "ex\x00ample.com", "a\n@example.com"} {
		if key, ok := ParseKey(in); ok {
			t.Errorf("ParseKey(%q) = %v", in, key)
		}
	}
}

func TestParseTypes(t *testing.T) {
	for in, want := range map[string]TypeSet{
		"": 0, "all": AllTypes, "ip": 1 << IP, " IP , domain ": 1<<IP | 1<<Domain, "hash": 1<<MD5 | 1<<SHA1 | 1<<SHA256 | 1<<SHA512,
		"sha256,antivirus": 1<<SHA256 | 1<<Antivirus,
	} {
		if got, err := ParseTypes(in); err != nil || got != want {
			t.Errorf("ParseTypes(%q) = %b, %v, want %b", in, got, err, want)
		}
	}
	if _, err := ParseTypes("ip,url"); err == nil || !strings.Contains(err.Error(), `"url"`) {
		t.Errorf("ParseTypes of an unknown type: %v", err)
	}
	for typ := IP; typ < numTypes; typ++ {
		if got, ok := ParseType(typ.String()); !ok || got != typ {
			t.Errorf("ParseType(%v) = %v, %v", typ, got, ok)
		}
	}
	if _, ok := ParseType("none"); ok {
		t.Error("none is a type")
	}
}

func TestScannerTypes(t *testing.T) {
	line := []byte("198.51.100.7 evil.com j@evil.com d41d8cd98f00b204e9800998ecf8427e")
	for typ, want := range map[Type]int{IP: 1, Domain: 2, Email: 1, MD5: 1, SHA1: 0, Antivirus: 0} {
		s := Scanner{Types: 1 << typ}
		if got := s.Append(nil, line); len(got) != want {
			t.Errorf("%v: %v, want %d", typ, got, want)
		}
	}
}

func TestAppendKeepsDst(t *testing.T) {
	first := Match{Key: Key{IP, "203.0.113.9"}, Start: 90, End: 99}
	var s Scanner
	got := s.Append([]Match{first}, []byte("198.51.100.7"))
	if len(got) != 2 || got[0] != first || got[1].Value != "198.51.100.7" {
		t.Errorf("got %v", got)
	}
}

func TestFields(t *testing.T) {
	const event = `{"message":"a.com","event":{"original":"b.com"},"threat":{"indicator":{"ip":"198.51.100.7"}},` +
		`"threat_x":"c.com","dns":{"answers":[{"data":"d.com"}],"question":{"name":"e.com"}},"x.y":{"z":"f.com"}}`
	for _, tt := range []struct {
		fields Fields
		want   string
	}{
		{Fields{}, "a.com b.com 198.51.100.7 c.com d.com e.com f.com"},
		{NewFields(nil, DefaultIgnored, true), "a.com c.com d.com e.com f.com"},
		{NewFields([]string{"dns"}, nil, false), "d.com e.com"},
		{NewFields([]string{"dns.*.data"}, nil, false), "d.com"},
		{NewFields([]string{"dns.*"}, []string{"dns.q*n"}, false), "d.com"},
		{NewFields([]string{"x.y.z", "m*e"}, nil, false), "a.com f.com"},
		{NewFields([]string{" threat.* ", ""}, nil, false), "198.51.100.7"},
		{NewFields([]string{"dns.answers.data.more", "d", "*s*ge"}, nil, false), "a.com"},
	} {
		s := Scanner{Fields: tt.fields}
		var got []string
		for _, m := range s.Append(nil, []byte(event)) {
			got = append(got, m.Value)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v, want %s", tt.fields, got, tt.want)
		}
	}
	s := Scanner{Fields: NewFields(nil, nil, true)}
	if got := s.Append(nil, []byte(`{"event":{"original":"b.com"}}`)); len(got) != 1 {
		t.Errorf("event.original without a message: %v", got)
	}
}

func TestReadContext(t *testing.T) {
	for line, want := range map[string]Context{
		"Failed password for root from 198.51.100.7":                     {Outcome: Fail},
		"Accepted publickey for root from 10.0.0.5":                      {Outcome: OK, Host: "10.0.0.5"},
		`198.51.100.7 - - [x] "GET / HTTP/1.1" 404 12`:                   {Outcome: Fail},
		`198.51.100.7 - - [x] "GET / HTTP/1.1" 200 12`:                   {Outcome: OK},
		"1 192.168.1.9 TCP_MISS/200 GET http://evil.com/":                {Outcome: OK, Host: "192.168.1.9"},
		`{"event":{"action":"denied"},"source":{"ip":"198.51.100.7"}}`:   {Outcome: Deny},
		`{"http":{"response":{"status_code":403}}}`:                      {Outcome: Fail},
		`{"dns":{"response_code":"NXDOMAIN"},"client":{"ip":"fd00::7"}}`: {Outcome: NXDomain, Host: "fd00::7"},
		"kernel: DROPPED IN=eth0 SRC=198.51.100.7":                       {Outcome: Deny},
		"4040 200 bytes in 404 files":                                    {},
		"the word acceptable says nothing of accept":                     {Outcome: OK},
		"": {},
	} {
		var s Scanner
		matches := s.Append(nil, []byte(line))
		if got := ReadContext([]byte(line), matches); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}
