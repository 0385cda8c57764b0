// SPDX-License-Identifier: BSD-2-Clause
#include "explain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"
#include "policy_internal.h"
#include "app_live.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "protections.h"

#define TRIES 8		/* a policy may be replaced while it is asked: then all over again */
#define PARTS 2		/* the packet and its answer */

struct explainer {
	struct pins pins;		/* live */
	struct oracle oracle;
	struct policy *policy;		/* of generation `serial`; NULL: none */
	uint32_t serial;
	struct ipsecbpf_sa_info *sas;
	size_t sa_count;
	bool supervised;
	bool warned;			/* that it is not */
	char *rules[PARTS];		/* the texts of the last explanation */
};

const char *explain_decision_name(enum explain_decision decision)
{
	static const char *const names[] = {
#define X(id, word) [EXPLAIN_##id] = word,
		EXPLAIN_DECISIONS(X)
#undef X
	};

	return decision < EXPLAIN_DECISION_COUNT ? names[decision] : "unknown";
}

/* ---- what is live -------------------------------------------------------------------------- */

static void forget_policy(struct explainer *explainer)
{
	policy_free(explainer->policy);
	explainer->policy = NULL;
}

static uint32_t live_serial(const struct explainer *explainer)
{
	uint32_t active = policy_generation(&explainer->pins);
	struct spd_head head;

	return policy_read_head(&explainer->pins, active, &head) ? 0 : head.serial;
}

/* Reads the policy in force, if it is not the one that was read before. 0 or -errno. */
static int read_policy(struct explainer *explainer)
{
	uint32_t serial = live_serial(explainer);

	if (serial == explainer->serial)
		return 0;
	forget_policy(explainer);
	explainer->serial = serial;
	if (!serial)
		return 0;
	explainer->policy = policy_read_live(&explainer->pins, NULL);
	if (explainer->policy && live_serial(explainer) == serial)
		return 0;
	forget_policy(explainer);	/* it was replaced meanwhile, or memory ran out */
	explainer->serial = 0;
	return -EAGAIN;
}

/* Without a supervisor there are no SAs; that is told where it matters. */
static void read_sas(struct explainer *explainer)
{
	explainer->supervised = !ipsecbpf_sa_list(explainer->pins.ifname, &explainer->sas,
						  &explainer->sa_count, NULL);
}

static void check_programs(const struct explainer *explainer, struct ipsecbpf_report *report)
{
	if (oracle_is_same(&explainer->oracle, &explainer->pins, HOOK_xdp_ingress) &&
	    oracle_is_same(&explainer->oracle, &explainer->pins, HOOK_tc_egress))
		return;
	report_warning(report, explainer->pins.ifname,
		       "attach again with this ipsecbpf, or explain with the one that attached",
		       "the attached programs were built otherwise than those of this command, which "
		       "explain");
}

struct explainer *explainer_open(const char *ifname, struct ipsecbpf_report *report)
{
	struct explainer *explainer = calloc(1, sizeof(*explainer));
	int err = explainer ? 0 : -ENOMEM;

	if (!err)
		err = pins_open(&explainer->pins, ifname, report);
	if (err)
		goto fail;
	err = pins_check_nic(&explainer->pins, report);
	if (!err)
		err = oracle_open_live(&explainer->oracle, &explainer->pins, report);
	if (err) {
		pins_close(&explainer->pins);
		goto fail;
	}
	check_programs(explainer, report);
	read_sas(explainer);
	return explainer;
fail:
	free(explainer);
	errno = -err;
	return NULL;
}

void explainer_close(struct explainer *explainer)
{
	if (!explainer)
		return;
	oracle_close(&explainer->oracle);
	pins_close(&explainer->pins);
	forget_policy(explainer);
	for (size_t i = 0; i < PARTS; i++)
		free(explainer->rules[i]);
	free(explainer->sas);
	free(explainer);
}

/* ---- rules --------------------------------------------------------------------------------- */

/* `slot`: which of the explainer's texts to use. */
static int describe_rule(struct explainer *explainer, size_t slot, struct explain_part *part)
{
	const struct policy *policy = explainer->policy;
	struct explain_rule *out = &part->rule;
	const struct rule *rule;
	json_t *json;

	out->index = part->verdict.asked ? part->verdict.rule : SPD_RULE_DEFAULT;
	if (out->index == SPD_RULE_DEFAULT || !policy || out->index >= policy->all_rule_count)
		return 0;
	rule = &policy->rules[out->index];
	json = policy_show_rule(policy, out->index);
	free(explainer->rules[slot]);
	explainer->rules[slot] = json ? json_dumps(json, 0) : NULL;
	json_decref(json);
	if (!explainer->rules[slot])
		return -ENOMEM;
	out->text = explainer->rules[slot];
	out->name = rule->name;
	out->application = rule->application ?
			   policy->applications[rule->application - 1].name : NULL;
	out->level = rule->level;
	out->file = policy->file;
	out->line = rule->at.line;
	if (rule->action == SPD_PROTECT) {
		out->peer = rule->peer == PEER_NONE ? NULL : policy->peers[rule->peer].name;
		out->protection = policy->protections[rule->protection].name;
	}
	return 0;
}

/* An application of the policy that was asked. */
static void describe_app(const struct explainer *explainer, struct explain_part *part)
{
	const struct policy *policy = explainer->policy;
	uint32_t app = part->verdict.app;

	if (app && policy && app <= policy->application_count)
		part->app = policy->applications[app - 1].name;
}

uint32_t explainer_app(struct explainer *explainer, const char *name,
		       struct ipsecbpf_report *report)
{
	int err = -EAGAIN;
	size_t found;

	for (int i = 0; err == -EAGAIN && i < TRIES; i++)
		err = read_policy(explainer);
	if (err || !explainer->policy) {
		report_error(report, explainer->pins.ifname, "ipsecbpf policy apply",
			     "no policy is loaded");
		return 0;
	}
	found = app_find(explainer->policy, name, explainer->pins.ifname, report);
	return found == SIZE_MAX ? 0 : (uint32_t)found + 1;
}

/* ---- SAs ----------------------------------------------------------------------------------- */

static const struct ipsecbpf_sa_info *sa_of_slot(const struct explainer *explainer, uint32_t slot)
{
	for (size_t i = 0; i < explainer->sa_count; i++)
		if (explainer->sas[i].slot == slot)
			return &explainer->sas[i];
	return NULL;
}

/* The outbound SA in use around another one (RFC 4301 4.5); NULL: none, or it is missing. */
static const struct ipsecbpf_sa_info *sa_around(const struct explainer *explainer,
						const struct ipsecbpf_sa_info *sa)
{
	uint32_t within = protections_live(&explainer->pins, sa->peer, sa->protection).within_id;
	uint32_t key = OUT_SA(within, sa->family);
	struct out_sa out;

	if (!within || bpf_map_lookup_elem(explainer->pins.out_sa_fd, &key, &out) || !out.slot)
		return NULL;
	return sa_of_slot(explainer, out.slot);
}

static void outbound_sas(const struct explainer *explainer, struct explain_part *part)
{
	const struct ipsecbpf_sa_info *sa = sa_of_slot(explainer, part->verdict.slot);

	for (; sa && part->sa_count < BUNDLE_MAX; sa = sa_around(explainer, sa))
		part->sas[part->sa_count++] = *sa;
}

/* The inbound SAs by which the packet would be accepted: those of the rule's pair, each tried. */
static int inbound_sas(struct explainer *explainer, const struct oracle_packet *packet,
		       struct explain_part *part)
{
	for (size_t i = 0; i < explainer->sa_count; i++) {
		const struct ipsecbpf_sa_info *sa = &explainer->sas[i];
		struct oracle_answer inside;
		int err;

		if (sa->direction != SPD_IN || strcmp(sa->peer, part->rule.peer) ||
		    strcmp(sa->protection, part->rule.protection) ||
		    part->sa_count == EXPLAIN_SAS_MAX)
			continue;
		if (!sa->tunnel && sa->family != part->verdict.family)
			continue;	/* transport mode keeps the packet's own addresses */
		err = oracle_ask_inside(&explainer->oracle, packet, sa->slot, &inside);
		if (err)
			return err;
		if (inside.fate == ORACLE_STACK)
			part->sas[part->sa_count++] = *sa;
	}
	return 0;
}

static int describe_sas(struct explainer *explainer, const struct oracle_packet *packet,
			struct explain_part *part)
{
	const struct ipsecbpf_sa_info *sa;

	if (part->decision == EXPLAIN_PROTECT) {
		outbound_sas(explainer, part);
		part->inner_mtu = part->sa_count ? part->sas[0].inner_mtu : 0;
	} else if (part->direction == SPD_IN && part->verdict.slot) {
		sa = sa_of_slot(explainer, part->verdict.slot);
		if (sa)
			part->sas[part->sa_count++] = *sa;
	} else if (part->direction == SPD_IN && part->rule.peer) {
		return inbound_sas(explainer, packet, part);
	}
	return 0;
}

/* ---- asking -------------------------------------------------------------------------------- */

static enum explain_decision decision_of(enum spd_direction direction, enum oracle_fate fate)
{
	if (fate == ORACLE_DROP)
		return EXPLAIN_DROP;
	if (fate == ORACLE_STACK)
		return EXPLAIN_BYPASS;
	return direction == SPD_OUT ? EXPLAIN_PROTECT : EXPLAIN_VERIFY;
}

static void warn_of_worker(struct explainer *explainer, const struct explain_part *part,
			   struct ipsecbpf_report *report)
{
	if (explainer->supervised || explainer->warned || part->decision == EXPLAIN_BYPASS ||
	    part->decision == EXPLAIN_DROP)
		return;
	explainer->warned = true;
	report_warning(report, explainer->pins.ifname, "ipsecbpf attach it again",
		       "no supervisor runs: what should go to the worker is lost");
}

/* One packet through its hook. -EAGAIN: the policy was replaced meanwhile. */
static int ask(struct explainer *explainer, size_t slot, const struct oracle_packet *packet,
	       struct explain_part *part)
{
	enum hook hook = part->direction == SPD_OUT ? HOOK_tc_egress : HOOK_xdp_ingress;
	struct oracle_answer answer;
	int err;

	err = oracle_ask(&explainer->oracle, hook, packet, &answer);
	if (err)
		return err;
	if (answer.verdict.asked && answer.verdict.serial != explainer->serial)
		return -EAGAIN;
	part->verdict = answer.verdict;
	part->decision = decision_of(part->direction, answer.fate);
	for (int i = 0; i < PASS_COUNTER_COUNT; i++)
		if (answer.passes[i]) {
			part->passed = true;
			part->counter = (enum pass_counter)i;
		}
	describe_app(explainer, part);
	err = describe_rule(explainer, slot, part);
	return err ? err : describe_sas(explainer, packet, part);
}

static bool is_own(const struct explainer *explainer, const struct packet_spec *spec)
{
	struct own_address key = { .addr = spec->src, .family = spec->family };
	uint8_t value;

	return !bpf_map_lookup_elem(explainer->pins.own_addresses_fd, &key, &value);
}

/* One application's on purpose: so is its answer. */
static uint32_t answer_app(const struct explain_packet *packet)
{
	return packet->app ? packet->app : APP_ASK_MAPS;
}

/* The answer to what was asked before, through the other hook. */
static int ask_answer(struct explainer *explainer, const struct explain_packet *packet,
		      struct explanation *out)
{
	uint8_t bytes[PACKET_SPEC_FRAME_MAX];
	struct packet_spec spec, answer;
	struct oracle_packet shot = { .frame = bytes, .app = answer_app(packet) };

	if (!packet->frame)
		spec = *packet->spec;
	else if (!packet_spec_of(&out->packet.verdict, &spec))
		return 0;
	if (!packet_spec_answer(&spec, &answer))
		return 0;
	out->answered = true;
	out->answer.direction = packet->direction == SPD_OUT ? SPD_IN : SPD_OUT;
	/* What this host does not answer itself, it forwards. */
	shot.forwarded = out->answer.direction == SPD_OUT && !is_own(explainer, &answer);
	shot.len = packet_spec_build(&answer, explainer->pins.control->nic_mac, bytes);
	return ask(explainer, 1, &shot, &out->answer);
}

static int ask_both(struct explainer *explainer, const struct explain_packet *packet,
		    struct explanation *out)
{
	uint8_t bytes[PACKET_SPEC_FRAME_MAX];
	struct oracle_packet shot = {
		.frame = bytes, .forwarded = packet->forwarded, .app = packet->app,
	};
	int err;

	*out = (struct explanation){ .packet.direction = packet->direction };
	if (packet->frame) {
		shot.frame = packet->frame->data;
		shot.len = packet->frame->len;
	} else {
		shot.len = packet_spec_build(packet->spec, explainer->pins.control->nic_mac,
					     bytes);
	}
	err = read_policy(explainer);
	if (!err)
		err = ask(explainer, 0, &shot, &out->packet);
	return err ? err : ask_answer(explainer, packet, out);
}

/* Of a captured packet that is none for the programs: 0, or -EINVAL, explained. */
static int refuse_frame(const struct capture_frame *frame, const char *ifname, int err,
			struct ipsecbpf_report *report)
{
	const char *problem = frame ? frame->problem : NULL;

	/* A test run makes an skb of it, and wants a whole IP header for that. */
	if (frame && err == -EINVAL)
		problem = "the kernel makes no packet of it to test with, it is too short";
	if (!problem)
		return 0;
	report_error(report, ifname, NULL, "packet %u, %u octets: %s", frame->number, frame->len,
		     problem);
	return -EINVAL;
}

int explainer_ask(struct explainer *explainer, const struct explain_packet *packet,
		  struct explanation *ret_explanation, struct ipsecbpf_report *report)
{
	struct explanation explanation;
	int err = -EAGAIN;

	if (refuse_frame(packet->frame, explainer->pins.ifname, 0, report))
		return -EINVAL;
	for (int i = 0; err == -EAGAIN && i < TRIES; i++)
		err = ask_both(explainer, packet, &explanation);
	if (err && refuse_frame(packet->frame, explainer->pins.ifname, err, report))
		return -EINVAL;
	if (err) {
		report_error(report, explainer->pins.ifname, NULL, "cannot ask the programs: %s",
			     err == -EAGAIN ? "the policy is being replaced again and again"
					    : strerror(-err));
		return err;
	}
	warn_of_worker(explainer, &explanation.packet, report);
	*ret_explanation = explanation;
	return 0;
}
