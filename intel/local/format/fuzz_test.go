package format

import (
	"strings"
	"testing"
	"time"

	"iocpipe/intel"
)

// fuzz reads anything as a list of the kinds, which begin as the samples do.
func fuzz(f *testing.F, kinds ...Kind) {
	for name, kind := range samples {
		for _, k := range kinds {
			if k == kind {
				f.Add(sample(f, name))
			}
		}
	}
	f.Fuzz(func(t *testing.T, content string) {
		for _, kind := range kinds {
			r := read(content, Options{Kind: kind})
			for _, e := range r.entries {
				check(t, e)
				if _, err := intel.ParseStatement(intel.AppendStatement(nil, e.Statement)); err != nil {
					t.Errorf("%s: the statement is not read back: %v", told(e.Subject), err)
				}
				if !e.Expires.IsZero() && e.Expires.Year() > 10_000 {
					t.Errorf("%s expires in %v", told(e.Subject), e.Expires.Format(time.DateOnly))
				}
			}
			for _, refused := range r.refused {
				if refused.Where == "" || refused.Err == nil || len(refused.Value) > 100 {
					t.Errorf("refused %+v", refused)
				}
			}
		}
	})
}

func FuzzCSV(f *testing.F)         { fuzz(f, CSV) }
func FuzzAbuse(f *testing.F)       { fuzz(f, URLhaus, ThreatFox, Feodo, MalwareBazaar) }
func FuzzDROP(f *testing.F)        { fuzz(f, SpamhausDROP) }
func FuzzHosts(f *testing.F)       { fuzz(f, Hosts) }
func FuzzMISP(f *testing.F)        { fuzz(f, MISP, MISPFeed) }
func FuzzWarninglist(f *testing.F) { fuzz(f, Warninglist) }
func FuzzSTIX(f *testing.F)        { fuzz(f, STIX) }
func FuzzOTX(f *testing.F)         { fuzz(f, OTX) }
func FuzzMaltrail(f *testing.F)    { fuzz(f, Maltrail) }
func FuzzIPsum(f *testing.F)       { fuzz(f, IPsum) }
func FuzzOpenIOC(f *testing.F)     { fuzz(f, OpenIOC) }

// FuzzTell reads anything as what it seems to be.
func FuzzTell(f *testing.F) {
	for name := range samples {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, content string) {
		r := read(content, Options{})
		for _, e := range r.entries {
			check(t, e)
		}
		if _, ok := readers[r.kind]; !ok && r.err == nil {
			t.Errorf("read as %q", r.kind)
		}
	})
}

// FuzzDecompress decompresses anything; zip archives go to a temporary file.
func FuzzDecompress(f *testing.F) {
	for _, seed := range []string{"evil.test\n", gzipped("evil.test\n"), zstded(f, "evil.test\n"), zipped(f, "a", "b", "c", "d")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		r, err := Decompress(strings.NewReader(content))
		if err != nil {
			return
		}
		defer r.Close()
		var buf [4096]byte
		for range 1000 { // of a bomb no more
			if _, err := r.Read(buf[:]); err != nil {
				return
			}
		}
	})
}
