package annotate

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"iocpipe/intel"
)

// related is what a finding's report names, by the lists of iocpipe.related.
type related [4]relatedList

const (
	relatedIPs = iota
	relatedHosts
	relatedHashes
	relatedEmails
)

var relatedNames = [len(related{})]string{"ip", "hosts", "hash", "email"}

// A relatedList is one list before it is put in order and cut: those of resolutions that belong to it, and values
// without dates.
type relatedList struct {
	resolutions []intel.Resolution
	addresses   bool // of resolutions, the addresses belong to the list; else the names
	values      [2][]string
	single      [2]string
	self        string // the indicator itself, which is not related to itself
	total       int
}

// relatedTo sorts what the report of f names into lists. value is the indicator that f is about.
func relatedTo(f *intel.Finding, value string) (lists related) {
	if f.Report == nil {
		return lists
	}
	r := f.Report
	lists[relatedIPs] = relatedList{resolutions: r.Resolutions, addresses: true, values: [2][]string{r.IPs}}
	lists[relatedHosts] = relatedList{resolutions: r.Resolutions, values: [2][]string{r.Subdomains, r.Domains}}
	lists[relatedHashes] = relatedList{values: [2][]string{r.Hashes}, single: [2]string{r.MD5, r.SHA1}}
	lists[relatedEmails] = relatedList{values: [2][]string{r.Emails}}
	for i := range lists {
		lists[i].self = value
		lists[i].count()
	}
	return lists
}

func (r *related) total() (n int) {
	for i := range r {
		n += r[i].total
	}
	return n
}

func (l *relatedList) count() {
	for i := range l.resolutions {
		if l.has(&l.resolutions[i]) {
			l.total++
		}
	}
	for _, values := range [...][]string{l.values[0], l.values[1], l.single[:]} {
		for _, value := range values {
			if l.takes(value) {
				l.total++
			}
		}
	}
}

// has reports whether r belongs to the list.
func (l *relatedList) has(r *intel.Resolution) bool {
	return isAddress(r.Value) == l.addresses && l.takes(r.Value)
}

func (l *relatedList) takes(value string) bool { return value != "" && value != l.self }

// isAddress tells an address from a name, both normalised, by the last label: no top-level domain is a number.
func isAddress(s string) bool {
	digits := len(s)
	for digits > 0 && '0' <= s[digits-1] && s[digits-1] <= '9' {
		digits--
	}
	return strings.Contains(s, ":") || digits < len(s) && digits > 0 && s[digits-1] == '.'
}

// appendRelated appends the lists of related indicators, for the verdicts that make them worth reading, and how many
// there are, for all.
func (a *Annotator) appendRelated(dst []byte, f *intel.Finding, lists *related) []byte {
	listed := a.MaxRelated > 0 && (f.Verdict == intel.Malicious || f.Verdict == intel.Related)
	for i := range lists {
		l := &lists[i]
		if l.total == 0 {
			continue
		}
		if listed {
			dst = append(appendName(dst, relatedNames[i]), '[')
			dst = a.appendList(dst, l, i == relatedIPs)
			dst = append(appendClose(dst, ']'), ',')
		}
		dst = append(append(append(dst, '"'), relatedNames[i]...), `_total":`...)
		dst = append(strconv.AppendInt(dst, int64(l.total), 10), ',')
	}
	return dst
}

// appendList appends the first MaxRelated values of l: the dated ones, the newest first, and then the others in their
// order. Values that their field would refuse are passed over.
func (a *Annotator) appendList(dst []byte, l *relatedList, addresses bool) []byte {
	a.listed = a.listed[:0]
	for _, r := range a.newestFirst(l) {
		dst = a.appendListed(dst, r.Value, addresses, nil)
	}
	for _, values := range [...][]string{l.values[0], l.values[1], l.single[:]} {
		before := a.listed // one source names nothing twice, but two may name the same
		for _, value := range values {
			if len(a.listed) >= a.MaxRelated {
				return dst
			}
			if l.takes(value) {
				dst = a.appendListed(dst, value, addresses, before)
			}
		}
	}
	return dst
}

func (a *Annotator) appendListed(dst []byte, value string, addresses bool, before []string) []byte {
	if len(value) > maxKeyword || slices.Contains(before, value) {
		return dst
	}
	if addresses {
		if addr, err := netip.ParseAddr(value); err != nil || addr.Zone() != "" {
			return dst
		}
	}
	a.listed = append(a.listed, value)
	return append(AppendString(dst, value), ',')
}

// newestFirst returns the MaxRelated newest resolutions of l, valid until the next call. It sorts now and then while it
// goes through the resolutions, of which there may be thousands, so that it never holds more than twice that many.
func (a *Annotator) newestFirst(l *relatedList) []intel.Resolution {
	newest, sorted := a.newest[:0], 0
	for i := range l.resolutions {
		r := &l.resolutions[i]
		if !l.has(r) || sorted == a.MaxRelated && !r.Last.After(newest[sorted-1].Last) {
			continue
		}
		newest = append(newest, *r)
		if len(newest) >= 2*a.MaxRelated {
			sortNewest(newest)
			sorted = a.MaxRelated
			newest = newest[:sorted]
		}
	}
	sortNewest(newest)
	a.newest = newest
	return newest[:min(len(newest), a.MaxRelated)]
}

func sortNewest(r []intel.Resolution) {
	slices.SortStableFunc(r, func(x, y intel.Resolution) int { return y.Last.Compare(x.Last) })
}

// appendCounts appends how many of each kind are related, in words; the last two are joined by and.
func appendCounts(dst []byte, lists *related, and string) []byte {
	left := 0
	for i := range lists {
		left += min(lists[i].total, 1)
	}
	for i := range lists {
		n := lists[i].total
		if n == 0 {
			continue
		}
		dst = append(strconv.AppendInt(dst, int64(n), 10), ' ')
		dst = append(dst, countNames[i][min(n, 2)-1]...)
		switch left--; left {
		case 0:
		case 1:
			dst = append(dst, and...)
		default:
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// countNames are one and many of each list, for people.
var countNames = [len(related{})][2]string{
	{"address", "addresses"}, {"host", "hosts"}, {"hash", "hashes"}, {"e-mail address", "e-mail addresses"},
}
