/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a policy may do rightly and still be a mistake: the warnings of `policy check`. This table
 * is their only source: identifiers, words of "accept_risk", texts, the manual's list.
 *
 * Included by: policy.h's users that warn, the manual's generator.
 */
#ifndef IPSECBPF_POLICY_RISK_H
#define IPSECBPF_POLICY_RISK_H

#include <stdint.h>

/* X(enumerator, number, word, why, next). Numbers and words stay: files have the words. */
#define POLICY_RISKS(X)										\
	X(BYPASS_PRIVATE, 101, "bypass-private",						\
	  "private addresses belong to other hosts in every network",				\
	  "protect it, or name only hosts of a network this host never leaves")			\
	X(FAMILY_GAP, 102, "family-gap",							\
	  "hosts that have both families try IPv6 first, and what one protects goes in the "	\
	  "clear by the other", "protect both families alike, or discard the other")		\
	X(BYPASS_MULTICAST, 103, "bypass-multicast",						\
	  "whoever hears a broadcast can answer it, and a rule that goes by the remote port lets "	\
	  "any answer in", "name the answering hosts in the second rule's \"remote\"")		\
	X(WIDER_SIBLING, 104, "wider-sibling",							\
	  "what the earlier rule narrows down has no effect",					\
	  "remove one of the two, or narrow down the later one as well")			\
	X(DEFAULT_BYPASS, 105, "default-bypass",						\
	  "what no rule thought of passes in the clear, new protocols and hosts included",	\
	  "\"discard\" by default, and name what may pass")					\
	X(CONFLICT, 106, "conflict",								\
	  "the first match decides: what both match passes in the clear",			\
	  "put the stricter rule first, or keep its hosts out of the other")			\
	X(UNREACHABLE, 107, "unreachable",							\
	  "those before it together match all its packets first",				\
	  "move it up, or remove it")								\
	X(ND_WITHOUT_MLD, 108, "nd-without-mld",						\
	  "switches that snoop multicast listener discovery stop forwarding neighbour discovery "	\
	  "to hosts that do not take part", "add \"mld\" to bypass_essential")			\
	X(EXECUTABLE_ALONE, 109, "executable-alone",						\
	  "any local user can run that program with code of his own in it (LD_PRELOAD, plug-ins, "	\
	  "a debugger), and so send and receive past the rules that hold for everybody",	\
	  "name a user, a group, a unit or a cgroup as well")					\
	X(HOST_NAMES, 110, "host-names",							\
	  "a name is weaker than an identity: unless DNSSEC protects every answer, whoever can "	\
	  "forge one chooses whose packets these are",						\
	  "name addresses, or protect them with peers, which prove who they are")		\
	X(OPTIONAL, 111, "optional",								\
	  "who keeps the SA from being made, or speaks in the name of a peer that never had one, "	\
	  "is answered in the clear", "\"mandatory\", once all peers have SAs")			\
	X(APPLICATION_DEFAULT, 112, "application-default",					\
	  "the policy's defaults bypass: with whoever is in no network it speaks in the clear",	\
	  "\"default\": \"discard\", or a last network with remote \"any\"")			\
	X(SCRIPT, 113, "script",								\
	  "no process is known by it, so this match never fits, and the script's packets go by "	\
	  "other rules",									\
	  "match it by \"unit\" or \"cgroup\", and start it there (ipsecbpf run)")			\
	X(WEAK_SUITE, 201, "weak-suite", "it is not to be used any more (RFC 8221)",		\
	  "use AES-GCM or ChaCha20-Poly1305, or HMAC-SHA-256 where nothing is encrypted")	\
	X(UNUSED, 202, "unused", "what is meant to be protected may not be",			\
	  "add a rule, or remove it")								\
	X(HALF_RULE, 203, "half-rule", "its other selectors are of the other family",		\
	  "name addresses of both families on both sides, or take these out")			\
	X(ICMP_MIXED, 204, "icmp-mixed", "icmp and icmpv6 number their types differently",	\
	  "write one rule for each")								\
	X(NO_ARP, 205, "no-arp", "no IPv4 neighbour can be resolved unless entered by hand",	\
	  "\"arp\" in bypass_essential lets it pass")						\
	X(NO_ND, 206, "no-nd", "no IPv6 neighbour can be resolved",				\
	  "\"nd\" in bypass_essential lets it pass")							\
	X(NOT_COMPARED, 207, "not-compared",							\
	  "what the others say of rules out of reach, conflicts and gaps may not be all",	\
	  "check parts of the policy by themselves")						\
	X(NO_PEER_INSIDE, 208, "no-peer-inside", "all its packets are discarded",		\
	  "add a peer with an address there, or say that the network is untrusted")

enum policy_risk {
#define X(id, number, word, why, next) RISK_##id,
	POLICY_RISKS(X)
#undef X
	POLICY_RISK_COUNT
};
#define RISK_BIT(risk) (1u << (risk))

struct policy_risk_text {
	unsigned int number;		/* "W101" */
	const char *word, *why, *next;
};

/* By enum policy_risk. */
const struct policy_risk_text *policy_risk_text(enum policy_risk risk);

#endif /* IPSECBPF_POLICY_RISK_H */
