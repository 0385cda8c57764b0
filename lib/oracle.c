// SPDX-License-Identifier: BSD-2-Clause
#include "oracle.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <string.h>
#include <unistd.h>

#include "build_skeleton.h"
#include "policy_apply.h"
#include "stats.h"

#define LOOPBACK_IFINDEX 1
#define FRAME_MAX	 2048	/* what a test run takes on every kernel; headers are far shorter */
#define PRIVATE_SA_SLOTS 2

static int open_instance(struct oracle *oracle, struct loader_config *config,
			 struct ipsecbpf_report *report)
{
	int err;

	config->explaining = true;
	err = loader_init(&oracle->loader, config, report);
	if (err)
		return err;
	err = loader_pins(&oracle->loader, &oracle->pins);
	if (err) {
		report_error(report, config->ifname, NULL, "cannot open the private maps: %s",
			     strerror(-err));
		loader_fini(&oracle->loader);
	}
	return err;
}

int oracle_open_live(struct oracle *oracle, const struct pins *live,
		     struct ipsecbpf_report *report)
{
	struct loader_config config = {
		.ifname = live->ifname,
		.ifindex = live->attachment.ifindex,
		.host_ifindex = live->attachment.host_ifindex,
		.mark_value = live->attachment.mark_value,
		.mark_mask = live->attachment.mark_mask,
		.sa_slots = live->attachment.sa_slots,
		.xdp_generic = live->attachment.xdp_generic,
		.live = live,
	};

	return open_instance(oracle, &config, report);
}

int oracle_open_policy(struct oracle *oracle, const struct policy *policy, const char *ifname,
		       struct ipsecbpf_report *report)
{
	struct loader_config config = {
		.ifname = ifname,
		.ifindex = LOOPBACK_IFINDEX,
		.host_ifindex = LOOPBACK_IFINDEX,
		.mark_value = IPSECBPF_MARK_VALUE,
		.mark_mask = IPSECBPF_MARK_MASK,
		.sa_slots = PRIVATE_SA_SLOTS,
	};
	const struct policy_install_opts for_good = { .attaching = true };
	struct ipsecbpf_apply_result result;
	int err = open_instance(oracle, &config, report);

	if (err)
		return err;
	err = policy_install(&oracle->pins, ifname, policy, &for_good, &result, report);
	if (err)
		oracle_close(oracle);
	return err;
}

void oracle_close(struct oracle *oracle)
{
	pins_close(&oracle->pins);
	loader_fini(&oracle->loader);
}

static const struct bpf_program *program_of(const struct oracle *oracle, enum hook hook)
{
	const struct ipsecbpf_bpf *object = oracle->loader.object;
	const struct bpf_program *programs[] = {
		[HOOK_tc_host_port] = object->progs.tc_host_port,
		[HOOK_tc_egress] = object->progs.tc_egress,
		[HOOK_xdp_ingress] = object->progs.xdp_ingress,
	};

	return programs[hook];
}

/* Counters of the hooks alone: stats_read() adds what the live worker has dropped. */
static int read_counters(const struct oracle *oracle, struct ipsecbpf_stats *ret_stats)
{
	int err = stats_read(&oracle->pins, ret_stats);

	for (int reason = 0; !err && reason < DROP_SLOTS; reason++)
		ret_stats->drops[reason] -= ret_stats->worker.drops[reason];
	return err;
}

static enum oracle_fate fate_of(enum hook hook, uint32_t action)
{
	if (hook == HOOK_xdp_ingress)
		return action == XDP_PASS     ? ORACLE_STACK
		       : action == XDP_REDIRECT ? ORACLE_WORKER
						: ORACLE_DROP;
	if (action == TC_ACT_SHOT)
		return ORACLE_DROP;
	/* What the host port redirects goes to the NIC's ingress, and so to the stack. */
	return action == TC_ACT_REDIRECT && hook == HOOK_tc_egress ? ORACLE_WORKER : ORACLE_STACK;
}

static int test_run(int fd, enum hook hook, const struct oracle_packet *packet,
		    uint32_t *ret_action)
{
	struct __sk_buff context = { .ingress_ifindex = packet->forwarded ? LOOPBACK_IFINDEX : 0 };
	uint8_t out[FRAME_MAX + 256];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->frame,
		    .data_size_in = packet->len < FRAME_MAX ? packet->len : FRAME_MAX,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

	if (hook != HOOK_xdp_ingress) {
		opts.ctx_in = &context;
		opts.ctx_size_in = sizeof(context);
	}
	if (bpf_prog_test_run_opts(fd, &opts))
		return -errno;
	*ret_action = opts.retval;
	return 0;
}

int oracle_ask(struct oracle *oracle, enum hook hook, const struct oracle_packet *packet,
	       struct oracle_answer *ret_answer)
{
	int fd = bpf_map__fd(oracle->loader.object->maps.verdicts);
	struct oracle_answer answer = { .verdict = { .rule = SPD_RULE_DEFAULT } };
	struct ipsecbpf_stats before, after;
	uint32_t zero = 0, action = 0;
	int err;

	answer.verdict.app = packet->app;
	if (bpf_map_update_elem(fd, &zero, &answer.verdict, 0))
		return -errno;
	err = read_counters(oracle, &before);
	if (!err)
		err = test_run(bpf_program__fd(program_of(oracle, hook)), hook, packet, &action);
	if (!err)
		err = read_counters(oracle, &after);
	if (err)
		return err;
	if (bpf_map_lookup_elem(fd, &zero, &answer.verdict))
		return -errno;
	answer.fate = fate_of(hook, action);
	for (int i = 0; i < PASS_SLOTS; i++)
		answer.passes[i] = after.passes[i] - before.passes[i];
	for (int i = 0; i < DROP_SLOTS; i++)
		answer.drops[i] = after.drops[i] - before.drops[i];
	*ret_answer = answer;
	return 0;
}

int oracle_ask_inside(struct oracle *oracle, const struct oracle_packet *packet, uint32_t slot,
		      struct oracle_answer *ret_answer)
{
	uint8_t frame[FRAME_MAX];
	struct oracle_packet tagged = *packet;
	struct host_tag tag = {
		.magic = HOST_TAG_SA,
		.slot = { (uint8_t)(slot >> 24), (uint8_t)(slot >> 16), (uint8_t)(slot >> 8),
			  (uint8_t)slot },
	};
	struct sa_slot sa;

	if (bpf_map_lookup_elem(oracle->pins.sa_slots_fd, &slot, &sa))
		return -errno;
	tag.sa_gen = sa.sa_gen;
	if (tagged.len > sizeof(frame))
		tagged.len = sizeof(frame);
	if (tagged.len < ETH_HLEN)
		return -EINVAL;
	memcpy(frame, packet->frame, tagged.len);
	memcpy(frame, &tag, sizeof(tag));
	tagged.frame = frame;
	return oracle_ask(oracle, HOOK_tc_host_port, &tagged, ret_answer);
}

static bool tag_of(int fd, uint8_t out[BPF_TAG_SIZE])
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return false;
	memcpy(out, info.tag, BPF_TAG_SIZE);
	return true;
}

bool oracle_is_same(const struct oracle *oracle, const struct pins *live, enum hook hook)
{
	int fd = bpf_prog_get_fd_by_id(pins_program(live, hook));
	uint8_t ours[BPF_TAG_SIZE], theirs[BPF_TAG_SIZE];
	bool same = tag_of(fd, theirs) &&
		    tag_of(bpf_program__fd(program_of(oracle, hook)), ours) &&
		    !memcmp(ours, theirs, BPF_TAG_SIZE);

	if (fd >= 0)
		close(fd);
	return same;
}
