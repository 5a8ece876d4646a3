// Package lookup decides who is asked over the network about an indicator, and when. A [Provider] asks one source one
// question; the [Scheduler] chooses the questions and keeps the budget. What is known already is the business of cache.
//
// # How the budget is spent
//
// A public source allows a request every ten seconds; a log brings thousands of new indicators in that time. So of
// what is seen, a few in a hundred can be asked, about one in a hundred is malicious, and the order of asking decides
// nearly everything. First come, first served spends the day on what stood in the first minute.
//
// What waits stands in a [Table] of bounded size. Each sighting of it counts: how often, when, with which outcome, on
// which hosts. When a token is there, and only then, every entry is scored and the best is asked:
//
//	score = P(malicious) × (3 × news + sightings to come)
//
// Learning of a new threat is worth as much as three annotated sightings. It is news while the indicator was seen
// lately, and falls to a third after that. What came n times is expected to come about n times more, unless it has
// stayed away for longer than its rhythm explains.
//
// P adds up what speaks for and against an indicator in log odds, beginning with the odds of any (about 1 in 55): the
// outcome of its lines, whether its name baits or looks random, how many hosts met it, whether one of them met
// something malicious in the last ten minutes, whether its type is one that this log hardly ever holds. The sum is
// drawn towards what the answers about others with the very same traits have shown, and then towards what its
// neighbourhood (the /24 or /48 of an address, the registered domain of a name) has. The weights stand in one table in
// score.go. They are fixed: whoever can write into the log could teach weights that learn. An answer tells of what looks
// exactly the same and of nothing else, so a flood devalues its own kind alone.
//
// Every 20th request goes to what has waited longest, so that nothing is ruled out for good. A full table draws eight
// entries at random and gives up the one with the least score; a flood of invented names so pushes out invented names.
// Past 8192 newcomers a second they are turned away at the door, before their lines are read for more.
//
// An answer counts fully. A malicious one takes the indicator out for every source, and with it what the report names:
// that is known from then on, as related. Any other answer takes it out for the source that gave it. An error is no
// answer: it costs a token, the indicator waits on and pauses from 5 s up to an hour; a Retry-After holds for the
// whole source, and so does a pause from 15 s up after a 429 without one; five failures in a row, or one for want of a
// key, leave it with a probe a minute, then ever fewer, down to one in 15 minutes. What a source refuses to be asked
// about counts as not known to it.
//
// On six synthetic traces of 40 to 60 minutes, a request per 10 s, burst 5 (yield: mean of the share of malicious
// events that were annotated as they passed and the share of malicious indicators that became known):
//
//	first come, first served   0.02
//	most frequent first        0.16
//	this policy                0.48
//	knowing every answer       0.84
//
// All but the third are the figures published with the traces; the published policy, whose weights learn, reaches 0.46.
// Of the third, what looks the same brought 0.017, rare types 0.016, the hosts of a malicious answer 0.004. On 34 other
// traces (17 worlds of another make, two seeds each: floods of random, baiting and failing newcomers, logs without
// outcomes, logs where nearly everybody fails, IPv6 alone) this policy reaches 0.636, the published one 0.627, without
// learning 0.582, decayed frequency 0.25. What looks the same brought 0.044 there, most in floods of baits (0.29), and
// cost in one world: where everything is denied, 0.188 fell to 0.161 over six more seeds. Where attackers only ever
// succeed and users fail, next to nothing is found. Differences below 0.02 are noise.
//
// Tried and left out: probabilities corrected by how the answers of a type and outcome compare with what was expected
// of them (+0.007), a strength of 4, 12 or 20 answers instead of 8, or fewer of the traits, for what looks the same
// (within 0.01), hosts as groups (-0.01), suspicion from related instead of only malicious indicators (-0.004).
// Real logs will differ; lookup/plan measures one's own.
package lookup
