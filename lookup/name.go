package lookup

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"iocpipe/extract"
)

// registeredDomain returns the part of a domain that somebody registered, or the whole where it has none.
func registeredDomain(domain string) string {
	if strings.IndexByte(domain, '.') == strings.LastIndexByte(domain, '.') {
		return domain // at most one dot: registered itself, or nothing is
	}
	registered, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return registered
}

// domainOf returns the domain of a domain or e-mail key, and "" for other types.
func domainOf(key extract.Key) string {
	switch key.Type {
	case extract.Domain:
		return key.Value
	case extract.Email:
		return key.Value[strings.LastIndexByte(key.Value, '@')+1:]
	}
	return ""
}

// domainTraits returns what the spelling of a domain gives away. registered is its registered domain.
func domainTraits(domain, registered string) traits {
	var t traits
	label, suffix, _ := strings.Cut(registered, ".")
	if wellKnown[registered] {
		t.set(traitWellKnown)
	} else if hasBait(label) {
		t.set(traitBait)
	}
	if abusedTLD[suffix[strings.LastIndexByte(suffix, '.')+1:]] {
		t.set(traitAbusedTLD)
	}
	if looksRandom(label) {
		t.set(traitRandom)
	}
	if strings.Count(domain, ".") >= 3 {
		t.set(traitDeep)
	}
	return t
}

// hasBait reports whether a registered label holds a word that asks for trust, or somebody else's brand, as written
// or with the usual digits for letters.
func hasBait(label string) bool {
	if baitWords.in(label) {
		return true
	}
	if !strings.ContainsAny(label, lookAlikes) || len(label) > maxLabel {
		return false
	}
	var plain [maxLabel]byte
	for i := range len(label) {
		plain[i] = unmask[label[i]]
	}
	return brands.in(string(plain[:len(label)])) // the copy stays on the stack
}

// maxLabel is the length of the longest label (RFC 1035, section 2.3.4).
const maxLabel = 63

// lookAlikes are the digits that stand for letters in the names of impostors, and the hyphen that sets a brand apart.
const lookAlikes = "01345-"

// unmask maps each byte to the letter that it pretends to be.
var unmask = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
	}
	for i, letter := range []byte("ol eas") {
		if letter != ' ' {
			table['0'+i] = letter
		}
	}
	return table
}()

// words finds any of some lower-case words inside a label. They are kept by first letter: a label is short, and looking
// for each word in it took most of the time of taking in a new name.
type words [26][]string

func newWords(list string) *words {
	var w words
	for _, word := range strings.Fields(list) {
		w[word[0]-'a'] = append(w[word[0]-'a'], word)
	}
	return &w
}

// in reports whether label holds one of the words.
func (w *words) in(label string) bool {
	for i := range len(label) {
		if c := label[i] - 'a'; c < 26 {
			for _, word := range w[c] {
				if strings.HasPrefix(label[i:], word) {
					return true
				}
			}
		}
	}
	return false
}

// looksRandom reports whether a label reads as if no person had chosen it.
func looksRandom(label string) bool {
	const minLength = 7 // shorter ones say too little
	if len(label) < minLength {
		return false
	}
	var vowels, digits, run, longest int
	for i := range len(label) {
		switch c := label[i]; {
		case strings.IndexByte("aeiou", c) >= 0:
			vowels++
			run = 0
		case c >= 'a' && c <= 'z':
			run++
			longest = max(longest, run)
		default:
			run = 0
			if c >= '0' && c <= '9' {
				digits++
			}
		}
	}
	return randomness(float64(len(label)), float64(vowels), float64(digits), longest) >= 0.5
}

func randomness(length, vowels, digits float64, consonantRun int) float64 {
	var sum float64
	if vowels/length < 0.25 {
		sum += 0.4
	}
	if consonantRun >= 5 {
		sum += 0.3
	}
	if digits/length > 0.15 {
		sum += 0.3
	}
	return sum
}

// The lists are short on purpose: they are what an analyst knows by heart, not a feed.
var (
	wellKnown = setOf(`google.com gstatic.com googleapis.com googleusercontent.com googlevideo.com youtube.com
		ytimg.com gmail.com doubleclick.net google-analytics.com googletagmanager.com googlesyndication.com android.com
		microsoft.com windows.com windowsupdate.com office.com office365.com live.com outlook.com hotmail.com bing.com
		msn.com azure.com microsoftonline.com sharepoint.com skype.com visualstudio.com msftconnecttest.com apple.com
		icloud.com mzstatic.com amazon.com amazonaws.com cloudfront.net facebook.com fbcdn.net instagram.com
		whatsapp.com whatsapp.net twitter.com x.com twimg.com linkedin.com licdn.com netflix.com nflxvideo.net
		akamai.net akamaiedge.net akamaized.net cloudflare.com cloudflare.net fastly.net github.com githubusercontent.com
		gitlab.com stackoverflow.com wikipedia.org wikimedia.org mozilla.org mozilla.com firefox.com ubuntu.com
		debian.org redhat.com fedoraproject.org docker.com docker.io npmjs.org pypi.org golang.org adobe.com dropbox.com
		slack.com zoom.us spotify.com yahoo.com paypal.com ebay.com reddit.com pinterest.com tiktok.com wordpress.com
		salesforce.com oracle.com ibm.com intel.com nvidia.com dell.com hp.com cisco.com vmware.com symantec.com
		mcafee.com digicert.com letsencrypt.org verisign.com sentry.io datadoghq.com newrelic.com gravatar.com`)

	abusedTLD = setOf(`top xyz icu tk ml ga cf gq buzz click cyou rest work loan win bid date review stream download
		racing party science trade men gdn monster quest sbs cfd bond cam fit surf hair lol zip mov su pw cc ws
		online site club info biz shop live link fun space`)

	baitWords = newWords(`login logon signin secure security verify verif account update confirm password wallet
		unlock webmail invoice billing refund support suspend recover auth sso alert helpdesk mfa credential validat`)

	brands = newWords(`google microsoft office365 outlook apple icloud amazon facebook instagram whatsapp netflix
		paypal linkedin dropbox docusign adobe github`)
)

func setOf(words string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(words) {
		set[word] = true
	}
	return set
}
