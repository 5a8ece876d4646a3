package lookup

import (
	"strings"
	"testing"

	"iocpipe/extract"
)

func TestRegisteredDomain(t *testing.T) {
	f := func(domain, want string) {
		t.Helper()
		if got := registeredDomain(domain); got != want {
			t.Errorf("registeredDomain(%q) = %q, want %q", domain, got, want)
		}
	}
	f("example.com", "example.com")
	f("a.b.example.com", "example.com")
	f("www.example.co.uk", "example.co.uk")
	f("alice.github.io", "alice.github.io") // the private section of the list counts
	f("co.uk", "co.uk")
	f("localhost", "localhost")
	f("", "")
}

func TestKeyTraits(t *testing.T) {
	f := func(key extract.Key, wantGroup string, want ...trait) {
		t.Helper()
		var set traits
		for _, x := range want {
			set.set(x)
		}
		got, group := keyTraits(key)
		if got != set || group != wantGroup {
			t.Errorf("keyTraits(%v) = %b, %q, want %b, %q", key, got, group, set, wantGroup)
		}
	}
	f(extract.Key{Type: extract.IP, Value: "198.51.100.7"}, "", traitIP)
	f(extract.Key{Type: extract.SHA256, Value: strings.Repeat("a", 64)}, "", traitHash)
	f(extract.Key{Type: extract.Antivirus, Value: "trojan.generic"}, "")
	f(extract.Key{Type: extract.Email, Value: "bob@mail.example.com"}, "example.com", traitEmail)
	f(domain("cdn.example.com"), "example.com", traitDomain)
	f(domain("fonts.gstatic.com"), "gstatic.com", traitDomain, traitWellKnown)
	f(domain("shop.example.top"), "example.top", traitDomain, traitAbusedTLD)
	f(domain("secure-login.com"), "secure-login.com", traitDomain, traitBait)
	f(domain("paypa1.com"), "paypa1.com", traitDomain, traitBait)
	f(domain("micr0s0ft-help.net"), "micr0s0ft-help.net", traitDomain, traitBait)
	f(domain("login.example.com"), "example.com", traitDomain) // the host's name is not the registered label
	f(domain("a.b.c.example.com"), "example.com", traitDomain, traitDeep)
	f(domain("xkqjzvbwp.com"), "xkqjzvbwp.com", traitDomain, traitRandom)
	f(domain("singleword"), "singleword", traitDomain)
}

func TestLooksRandom(t *testing.T) {
	f := func(label string, want bool) {
		t.Helper()
		if got := looksRandom(label); got != want {
			t.Errorf("looksRandom(%q) = %v, want %v", label, got, want)
		}
	}
	f("", false)
	f("xkqjzv", false) // too short to tell
	f("xkqjzvb", true)
	f("a1b2c3d4", true)
	f("wikipedia", false)
	f("stackoverflow", false)
	f("newspaper24", false)
	f("7f3k9x2", true)
}

func BenchmarkKeyTraits(b *testing.B) {
	key := domain("www.mail-service24.example.co.uk")
	b.ReportAllocs()
	for b.Loop() {
		keyTraits(key)
	}
}
