package format

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// terms are what a pattern compares with, in short.
func terms(pattern string) string {
	all, err := parsePattern(pattern)
	if err != nil {
		return "! " + err.Error()
	}
	var list []string
	for _, t := range all {
		list = append(list, t.path+"="+strings.Join(t.values, ","))
	}
	return strings.Join(list, " ")
}

const (
	several = "! pattern needs more than one observation"
	md5Of   = "cead3f77f6cda6ec00f57d76c9a6879f"
	sha256  = "aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f"
)

// The patterns are those of the specification and of its validators' tests, but for the values.
func TestPattern(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{"[ipv4-addr:value = '203.0.113.7']", "ipv4-addr:value=203.0.113.7"},
		{"[ipv4-addr:value='203.0.113.7']", "ipv4-addr:value=203.0.113.7"},
		{" [ ipv4-addr:value == '203.0.113.7' ] ", "ipv4-addr:value=203.0.113.7"},
		{"[ipv4-addr:value ISSUBSET '198.51.100.0/24']", "ipv4-addr:value=198.51.100.0/24"},
		{"[url:value = 'http://example.com/foo' OR url:value = 'http://example.com/bar']",
			"url:value=http://example.com/foo url:value=http://example.com/bar"},
		{"[domain-name:value = 'a.b'] OR [domain-name:value = 'c.d']", "domain-name:value=a.b domain-name:value=c.d"},
		{"([domain-name:value = 'a.b'] OR [(domain-name:value = 'c.d')])", "domain-name:value=a.b domain-name:value=c.d"},
		{"[domain-name:value IN ('a.b', 'c.d')]", "domain-name:value=a.b,c.d"},
		{`[url:value = 'http://a.b/it\'s\\x AND [y]']`, `url:value=http://a.b/it's\x AND [y]`},
		{"[file:hashes.'SHA-256' = '" + sha256 + "']", "file:hashes.SHA-256=" + sha256},
		{"[file:hashes.SHA-256 = '" + sha256 + "']", "file:hashes.SHA-256=" + sha256},
		{"[file:hashes.MD5 = '" + md5Of + "' AND file:hashes.'SHA-256' = '" + sha256 + "']",
			"file:hashes.MD5=" + md5Of + " file:hashes.SHA-256=" + sha256},
		{"[file:hashes.MD5 = '" + md5Of + "' AND file:hashes.MD5 = '" + md5Of[1:] + "0']", several},
		{"[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '203.0.113.33/32']",
			"network-traffic:dst_ref.value=203.0.113.33/32"},
		{"[network-traffic:dst_ref.value ISSUBSET '2001:db8::/64']", "network-traffic:dst_ref.value=2001:db8::/64"},
		{"[email-message:from_ref.value MATCHES '.+\\\\@example\\\\.com$' AND email-message:x[*].name = 'y']", several},
		{"[domain-name:value = 'www.5z8.info' AND domain-name:resolves_to_refs[*].value = '198.51.100.1/32']",
			"domain-name:value=www.5z8.info"},
		{"[ipv4-addr:value = '203.0.113.7' AND domain-name:resolves_to_refs[*].value = '198.51.100.1']", several},
		{"[network-traffic:dst_ref.value = '203.0.113.8' AND network-traffic:dst_port = '443']",
			"network-traffic:dst_ref.value=203.0.113.8"},
		{"[network-traffic:dst_port = 443 AND network-traffic:protocols[*] = 'tcp']", several},
		{"[file:name = 'x.exe' AND file:hashes.MD5 = '" + md5Of + "' AND file:size = 7]", "file:hashes.MD5=" + md5Of},
		{"[domain-name:value = 'a.b' AND url:value = 'http://a.b/']", several},
		{"[file:hashes.MD5 = '" + md5Of + "'] AND [file:name = 'x']", several},
		{"([file:hashes.MD5 = '" + md5Of + "'] FOLLOWEDBY [file:name = 'x']) WITHIN 300 SECONDS", several},
		{"[domain-name:value = 'a.b'] REPEATS 5 TIMES WITHIN 1800 SECONDS", several},
		{"[domain-name:value = 'a.b'] START t'2014-06-29T00:00:00Z' STOP t'2014-07-05T00:00:00Z'", several},
		{"[domain-name:value != 'a.b']", several}, {"[NOT domain-name:value = 'a.b']", several},
		{"[domain-name:value NOT = 'a.b']", several}, {"[domain-name:value LIKE 'a%']", several},
		{"[file:size > 7.0]", several}, {"[(file:name = 'pdf.exe' OR file:size = '371712') AND file:created = t'2014']", several},
		{"[file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0]", several},
		{"[file:size IN (1024, 2048)]", "file:size=,"}, {"[a:b IN (t'2018', 'x')] OR [c:d = h'ff']", "a:b=,x c:d="},
		{"[file:size = 7]", "file:size="}, {"[file:magic_number_hex = h'ffd8']", "file:magic_number_hex="},
		{"", "! pattern is malformed"}, {"[", "! pattern is malformed"}, {"[]", "! pattern is malformed"},
		{"[domain-name:value = 'a.b'", "! pattern is malformed"}, {"[domain-name:value = 'a.b", "! pattern is malformed"},
		{"[domain-name:value = a.b]", "domain-name:value="}, {"[domain-name:value IN ('a.b',)]", "! pattern is malformed"},
		{"[domain-name:value IN ()]", "! pattern is malformed"}, {"domain-name:value = 'a.b'", "! pattern is malformed"},
		{"[domain-name:value = 'a.b']]", "! pattern is malformed"}, {"[a = 'b']", "! pattern is malformed"},
		{strings.Repeat("(", 10_000), "! pattern is malformed"},
		{"[" + strings.Repeat("(", 10_000), "! pattern is malformed"},
	} {
		if got := terms(tt.pattern); got != tt.want && !(strings.HasPrefix(tt.want, "! ") && strings.HasPrefix(got, tt.want)) {
			t.Errorf("%.80s: got %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{
		"[ipv4-addr:value = '203.0.113.7' OR domain-name:value IN ('a.b','c.d')]",
		"([file:hashes.'SHA-256' = 'x' AND file:hashes.MD5 = 'y']) FOLLOWEDBY [a:b[0].'c d' MATCHES '\\'']",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		all, err := parsePattern(pattern)
		if err != nil && !errors.Is(err, errPattern) && !errors.Is(err, errObservations) {
			t.Errorf("%q: %v", pattern, err)
		}
		size := 0
		for _, term := range all {
			if len(term.values) == 0 || !strings.Contains(term.path, ":") {
				t.Errorf("%q: %+v", pattern, term)
			}
			size += len(fmt.Sprint(term.values))
		}
		if size > 10*len(pattern)+10 {
			t.Errorf("%q: %d bytes of values", pattern, size)
		}
	})
}
