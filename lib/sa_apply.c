// SPDX-License-Identifier: BSD-2-Clause
/*
 * SAs from the command line's side: resolve them against the live policy (which peer, which
 * protection, which direction), then ask the supervisor. sa_json.c made the configurations; sad.c,
 * in the supervisor, takes them.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "pin.h"
#include "policy_store.h"
#include "protections.h"
#include "sa_apply.h"

struct resolver {
	const struct pins *pins;
	const struct policy *policy;
	struct ifaddrs *addresses; /* of this host, in this network namespace */
	struct ipsecbpf_report *report;
};

static void wire_text(const struct sa_config *sa, const union wire_addr *addr, char *out,
		      size_t len)
{
	struct address_range range = { .family = sa->family };

	range.lo = range.hi = addr128_from_wire(sa->family, addr);
	address_format(&range, out, len);
}

static void sa_object(const struct sa_config *sa, char *out, size_t len)
{
	char src[100], dst[100];

	wire_text(sa, &sa->src, src, sizeof(src));
	wire_text(sa, &sa->dst, dst, sizeof(dst));
	snprintf(out, len, "SA %s -> %s spi 0x%08x", src, dst, be32toh(sa->spi));
}

static bool is_own_address(const struct resolver *resolver, const struct sa_config *sa,
			   const union wire_addr *addr)
{
	for (const struct ifaddrs *at = resolver->addresses; at; at = at->ifa_next) {
		const void *have = at->ifa_addr;

		if (!have)
			continue;
		if (sa->family == FAMILY_V4 && at->ifa_addr->sa_family == AF_INET &&
		    !memcmp(&((const struct sockaddr_in *)have)->sin_addr, addr->b, 4))
			return true;
		if (sa->family == FAMILY_V6 && at->ifa_addr->sa_family == AF_INET6 &&
		    !memcmp(&((const struct sockaddr_in6 *)have)->sin6_addr, addr->b, 16))
			return true;
	}
	return false;
}

static int resolve_direction(const struct resolver *resolver, struct sa_config *sa)
{
	bool out = is_own_address(resolver, sa, &sa->src),
	     in = is_own_address(resolver, sa, &sa->dst);
	char object[256];

	if (sa->direction_given)
		return 0;
	if (in != out) {
		sa->direction = in ? SPD_IN : SPD_OUT;
		return 0;
	}
	sa_object(sa, object, sizeof(object));
	report_error(resolver->report, object,
		     "configure the address first, or give the SA a \"direction\"",
		     in ? "both addresses are this host's" : "neither address is this host's");
	return -EADDRNOTAVAIL;
}

static const struct peer *find_peer(const struct resolver *resolver, const struct sa_config *sa)
{
	const union wire_addr *theirs = sa->direction == SPD_OUT ? &sa->dst : &sa->src;
	struct addr128 addr = addr128_from_wire(sa->family, theirs);

	for (size_t i = 0; i < resolver->policy->peer_count; i++) {
		const struct address_list *list = &resolver->policy->peers[i].addresses;

		for (size_t k = 0; k < list->count; k++)
			if (list->items[k].family == sa->family &&
			    list->items[k].lo.hi == addr.hi && list->items[k].lo.lo == addr.lo)
				return &resolver->policy->peers[i];
	}
	return NULL;
}

static const struct protection *find_protection(const struct resolver *resolver,
						const struct sa_config *sa, const char *object)
{
	const struct policy *policy = resolver->policy;

	for (size_t i = 0; i < policy->protection_count; i++)
		if (!strcmp(policy->protections[i].name, sa->protection))
			return &policy->protections[i];
	report_error(resolver->report, object, "ipsecbpf policy show lists them",
		     "the live policy has no protection \"%s\"", sa->protection);
	return NULL;
}

static bool allows_suite(const struct protection *protection, const struct esp_suite *suite)
{
	for (size_t i = 0; i < protection->suite_count; i++)
		if (protection->suites[i] == suite)
			return true;
	return false;
}

/*
 * What lies within another SA is packed into that one's packets: where those go, and that they go
 * in UDP, is the outermost SA's affair.
 */
static int check_nested(const struct resolver *resolver, const struct sa_config *sa,
			const struct protection *protection, const char *object)
{
	const char *misplaced = sa->encap_sport || sa->encap_dport ? "encap" :
				sa->next_hop_given		   ? "next_hop" : NULL;

	if (!protection->nested || !misplaced)
		return 0;
	report_error(resolver->report, object, "give it to the outermost SA",
		     "has \"%s\", but protection \"%s\" lies within \"%s\"", misplaced,
		     protection->name,
		     resolver->policy->protections[protection->within.protection].name);
	return -EINVAL;
}

/* Does the SA keep what its protection promises? */
static int check_protection(const struct resolver *resolver, const struct sa_config *sa,
			    const struct protection *protection, const char *object)
{
	static const char *const words[] = { [PROTECTION_ESP] = "ESP", [PROTECTION_AH] = "AH" };
	const struct esp_suite *suite = suite_at(sa->suite);
	bool ah = sa->proto == IPPROTO_AH;

	if (ah != (protection->protocol == PROTECTION_AH)) {
		report_error(resolver->report, object,
			     "change the SA's proto, or the protection's protocol",
			     "is %s, protection \"%s\" says %s", words[ah], protection->name,
			     words[protection->protocol]);
		return -EINVAL;
	}
	if (sa->tunnel != (protection->mode == MODE_TUNNEL)) {
		report_error(resolver->report, object, "change the SA's mode, or the protection's",
			     "is in %s mode, protection \"%s\" says %s",
			     sa->tunnel ? "tunnel" : "transport", protection->name,
			     sa->tunnel ? "transport" : "tunnel");
		return -EINVAL;
	}
	if (!allows_suite(protection, suite)) {
		report_error(resolver->report, object, "add it to the protection's suites",
			     "protection \"%s\" does not allow suite %s", protection->name,
			     protection_suite_name(protection, suite));
		return -EINVAL;
	}
	return check_nested(resolver, sa, protection, object);
}

static int resolve(const struct resolver *resolver, struct sa_config *sa)
{
	const struct protection *protection;
	struct protection_val live;
	const struct peer *peer;
	char object[256];
	int err;

	err = resolve_direction(resolver, sa);
	if (err)
		return err;
	sa_object(sa, object, sizeof(object));
	peer = find_peer(resolver, sa);
	if (!peer) {
		report_error(resolver->report, object,
			     "add the peer to the policy and apply that first",
			     "no peer of the live policy has the %s address",
			     sa->direction == SPD_OUT ? "destination" : "source");
		return -ENOENT;
	}
	protection = find_protection(resolver, sa, object);
	if (!protection)
		return -ENOENT;
	err = check_protection(resolver, sa, protection, object);
	if (err)
		return err;
	sa->reassemble = protection->fragments == FRAGMENTS_REASSEMBLE;
	memcpy(sa->peer, peer->name, sizeof(sa->peer));
	live = protections_live(resolver->pins, peer->name, sa->protection);
	sa->protect_id = live.id;
	sa->within_id = live.within_id;	/* SAs for that need not be there yet */
	if (!sa->protect_id) {
		report_error(
			resolver->report, object, "add a rule with this peer and protection first",
			"no rule of the live policy protects traffic with peer \"%s\" by \"%s\"",
			peer->name, sa->protection);
		return -ENOENT;
	}
	return 0;
}

/* All SAs, so that every problem is reported; the first error is returned. */
static int resolve_all(const struct pins *pins, struct sa_config *sas, size_t count,
		       struct ipsecbpf_report *report)
{
	struct resolver resolver = { .pins = pins, .report = report };
	struct policy *policy;
	int err = 0;

	policy = policy_read_live(pins, report);
	if (!policy) {
		err = -errno;
		if (errno == ENODATA)
			report_error(report, pins->paths.dir, "ipsecbpf policy apply first",
				     "no policy is loaded, so no SA has anything to protect");
		return err;
	}
	resolver.policy = policy;
	if (getifaddrs(&resolver.addresses))
		err = -errno;
	for (size_t i = 0; resolver.addresses && i < count; i++) {
		int one = resolve(&resolver, &sas[i]);

		err = err ? err : one;
	}
	if (resolver.addresses)
		freeifaddrs(resolver.addresses);
	policy_free(policy);
	return err;
}

/* Asks the supervisor to take SAs: call says how, timing (may be NULL) goes in front of them. */
static int ask_install(const struct pins *pins, const struct sa_file *file,
		       const struct control_rotate *timing, struct control_call *call,
		       struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	size_t front = timing ? sizeof(*timing) : 0;
	size_t size = file->count * sizeof(*file->sas);
	uint8_t *payload = malloc(front + size + 1);
	struct sa_config *sas;
	int err;

	if (!payload)
		return -ENOMEM;
	sas = (void *)(payload + front);
	if (timing)
		memcpy(payload, timing, front);
	memcpy(sas, file->sas, size);
	call->payload = payload;
	call->len = (uint32_t)(front + size);
	err = resolve_all(pins, sas, file->count, report);
	if (!err)
		err = control_ask(&pins->paths, call, report);
	if (!err && call->reply_len != sizeof(*ret_result))
		err = -EPROTO;
	if (!err)
		memcpy(ret_result, call->reply, sizeof(*ret_result));
	free(call->reply);
	explicit_bzero(payload, front + size);
	free(payload);
	return err;
}

int sa_install(const struct pins *pins, const struct sa_file *file, uint32_t flags,
	       struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	struct control_call call = { .type = CONTROL_SA_APPLY, .flags = flags };

	return ask_install(pins, file, NULL, &call, ret_result, report);
}

int ipsecbpf_sa_apply(const char *ifname, const struct sa_file *file, uint32_t flags,
		      struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	struct pins pins;
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return lock;
	err = pins_check_nic(&pins, report);
	if (!err)
		err = sa_install(&pins, file, flags, ret_result, report);
	pins_close_locked(&pins, lock);
	return err;
}

int ipsecbpf_sa_rotate(const char *ifname, const struct sa_file *file,
		       const struct ipsecbpf_sa_rotate_opts *opts,
		       struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	const struct control_rotate timing = {
		.switch_after = opts->switch_after ? opts->switch_after : SA_SWITCH_AFTER_DEFAULT,
		.drain = opts->drain ? opts->drain : SA_DRAIN_DEFAULT,
	};
	struct control_call call = { .type = CONTROL_SA_ROTATE, .flags = opts->flags };
	struct pins pins;
	int err, lock = pins_open_locked(&pins, ifname, report);

	if (lock < 0)
		return lock;
	err = pins_check_nic(&pins, report);
	if (!err)
		err = ask_install(&pins, file, &timing, &call, ret_result, report);
	pins_close_locked(&pins, lock);
	return err;
}

int ipsecbpf_sa_delete(const char *ifname, const struct ipsecbpf_sa_id *id,
		       struct ipsecbpf_report *report)
{
	struct control_call call = {
		.type = CONTROL_SA_DELETE, .payload = id, .len = sizeof(*id),
	};
	struct pins pins;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	err = control_ask(&pins.paths, &call, report);
	free(call.reply);
	pins_close(&pins);
	return err;
}

int ipsecbpf_sa_flush(const char *ifname, uint32_t *ret_removed, struct ipsecbpf_report *report)
{
	struct control_call call = { .type = CONTROL_SA_FLUSH };
	struct pins pins;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	err = control_ask(&pins.paths, &call, report);
	if (!err && call.reply_len == sizeof(*ret_removed))
		memcpy(ret_removed, call.reply, sizeof(*ret_removed));
	free(call.reply);
	pins_close(&pins);
	return err;
}

int ipsecbpf_sa_list(const char *ifname, struct ipsecbpf_sa_info **ret_sas, size_t *ret_count,
		     struct ipsecbpf_report *report)
{
	struct ipsecbpf_sa_info *sas;
	struct control_call call = { .type = CONTROL_SA_LIST };
	struct control_sa *list;
	struct pins pins;
	uint32_t count;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err)
		return err;
	err = control_ask(&pins.paths, &call, report);
	pins_close(&pins);
	if (err)
		return err;
	list = call.reply;
	count = call.reply_len / (uint32_t)sizeof(*list);
	sas = calloc(count + 1, sizeof(*sas));
	for (uint32_t i = 0; sas && i < count; i++) {
		const struct esp_suite *suite = suite_at(list[i].suite);

		sas[i] = list[i].info;
		sas[i].suite = suite ? suite->name : "unknown";
	}
	free(call.reply);
	if (!sas)
		return -ENOMEM;
	*ret_sas = sas;
	*ret_count = count;
	return 0;
}
