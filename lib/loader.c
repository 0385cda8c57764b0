// SPDX-License-Identifier: BSD-2-Clause
#include "loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "build_skeleton.h"
#include "hook_attach.h"

#define FAILURE_LOG 4096

/* Of one message, the verifier's log, the end says why. */
#define MESSAGE_MAX  65536
#define MESSAGE_KEPT 1000

/* Octets of the flow cache, of all CPUs together, and sets of one CPU, at most. */
#define FLOW_CACHE_MAX (64u << 20)
#define FLOW_SETS_MAX  4096

/* A flow with a packet within this time does not give way to another. */
#define FLOW_IDLE_SECONDS 1

/* The last lines libbpf had to say: the verifier's reason for a refusal. Loading is
 * single-threaded. */
static char libbpf_log[FAILURE_LOG];
static libbpf_print_fn_t old_print;

static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	static char message[MESSAGE_MAX];
	size_t have = strlen(libbpf_log), len, kept;

	if (level != LIBBPF_WARN || vsnprintf(message, sizeof(message), format, args) < 0)
		return 0;
	len = strlen(message);
	kept = len < MESSAGE_KEPT ? len : MESSAGE_KEPT;
	if (have + kept < sizeof(libbpf_log))
		memcpy(libbpf_log + have, message + len - kept, kept + 1);
	return 0;
}

void loader_log_begin(void)
{
	libbpf_log[0] = '\0';
	old_print = libbpf_set_print(keep_log);
}

const char *loader_log_end(void)
{
	libbpf_set_print(old_print);
	return libbpf_log;
}

static int possible_cpus(void)
{
	int cpus = libbpf_num_possible_cpus();

	return cpus > 0 ? cpus : 1;
}

/* The kernel's version says so in mainline, a file did before it came there. */
static bool is_preempt_rt(void)
{
	struct utsname name;

	return !access("/sys/kernel/realtime", F_OK) ||
	       (!uname(&name) && strstr(name.version, "PREEMPT_RT"));
}

/*
 * How many sets of the flow cache each CPU has. None in a private instance, whose every answer is
 * searched for, and none with PREEMPT_RT: see bpf/flow_cache.h.
 */
static uint32_t flow_sets(const struct loader_config *config)
{
	size_t room = FLOW_CACHE_MAX / sizeof(struct flow_set) / (size_t)possible_cpus();
	uint32_t sets = FLOW_SETS_MAX;

	if (config->explaining || is_preempt_rt())
		return 0;
	while (sets > room)
		sets /= 2;
	return sets;
}

/* Jiffies in a second: the coarse clocks go by them. */
static uint32_t kernel_hz(void)
{
	struct timespec jiffy;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &jiffy) || jiffy.tv_sec || !jiffy.tv_nsec)
		return 1000;
	return (uint32_t)(1000000000 / jiffy.tv_nsec);
}

static int set_flow_knobs(struct loader *loader)
{
	struct ipsecbpf_bpf *object = loader->object;
	uint32_t seeds[FLOW_SEEDS];

	if (getrandom(seeds, sizeof(seeds), 0) != sizeof(seeds))
		return -EIO;
	for (size_t i = 0; i < FLOW_SEEDS; i++)
		object->rodata->flow_seeds[i] = seeds[i];
	object->rodata->flow_sets = flow_sets(&loader->config);
	object->rodata->flow_idle = FLOW_IDLE_SECONDS * kernel_hz();
	return 0;
}

static int set_knobs(struct loader *loader)
{
	const struct loader_config *config = &loader->config;
	struct ipsecbpf_bpf *object = loader->object;
	uint8_t secret[6];

	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return -EIO;
	secret[0] = (secret[0] | 0x02) & 0xfe; /* locally administered, individual */
	for (size_t i = 0; i < sizeof(secret); i++)
		object->rodata->reentry_mac[i] = secret[i];
	object->rodata->nic_ifindex = config->ifindex;
	object->rodata->host_ifindex = config->host_ifindex;
	object->rodata->mark_value = config->mark_value;
	object->rodata->mark_mask = config->mark_mask;
	object->rodata->xdp_generic = config->xdp_generic;
	object->rodata->explaining = config->explaining;
	return set_flow_knobs(loader);
}

/* The maps that are another instance's. The programs read them; what they write is their own. */
static int share_state(struct loader *loader)
{
	const struct pins *live = loader->config.live;
	int err = 0;

#define X(map)                                                                              \
	if (!err)                                                                           \
		err = bpf_map__reuse_fd(loader->object->maps.map, live->map##_fd);
	PINNED_STATE(X)
#undef X
	return err;
}

static int set_sizes(struct loader *loader)
{
	struct bpf_map *maps[] = { loader->object->maps.sad, loader->object->maps.sad_peers,
				   loader->object->maps.sa_slots, loader->object->maps.sa_state };
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(maps) / sizeof(maps[0]); i++)
		err = bpf_map__set_max_entries(maps[i], loader->config.sa_slots);
	if (!err && loader->object->rodata->flow_sets)
		err = bpf_map__set_max_entries(loader->object->maps.flow_cache,
					       loader->object->rodata->flow_sets *
						       (uint32_t)possible_cpus());
	return err;
}

/* What the socket hooks need. 0 or -errno. */
static int set_attachment_apps(struct attachment *attachment, const char *cgroup)
{
	uint64_t seed[2], cookie = 0;
	socklen_t len = sizeof(cookie);
	int fd, err;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) ? -errno : 0;
	close(fd);
	if (err)
		return err;
	attachment->netns_cookie = cookie;
	attachment->digest_seed[0] = seed[0];
	attachment->digest_seed[1] = seed[1];
	if (cgroup)
		snprintf(attachment->cgroup, sizeof(attachment->cgroup), "%s", cgroup);
	return 0;
}

/* First values of control and attachment, before any hook can see them. */
static int set_state(struct loader *loader)
{
	const struct loader_config *config = &loader->config;
	struct control control = { .abi_version = IPSECBPF_ABI_VERSION, .state = ATTACH_BLOCKED };
	uint32_t zero = 0;

	memcpy(control.nic_mac, config->nic_mac, sizeof(control.nic_mac));
	if (bpf_map_update_elem(bpf_map__fd(loader->object->maps.control), &zero, &control, 0))
		return -errno;
	loader->attachment = (struct attachment){
		.abi_version = IPSECBPF_ABI_VERSION,
		.ifindex = config->ifindex,
		.host_ifindex = config->host_ifindex,
		.mark_value = config->mark_value,
		.mark_mask = config->mark_mask,
		.sa_slots = config->sa_slots,
		.xdp_generic = config->xdp_generic,
	};
	return set_attachment_apps(&loader->attachment, config->cgroup);
}

/* A guard's clsact filter on the NIC is replaced, not joined by a second one. */
static void inherit_filter(struct loader *loader)
{
	struct attachment old;
	uint32_t zero = 0;
	char path[256];
	int fd;

	pin_map_path(&loader->paths, "attachment", path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	if (!bpf_map_lookup_elem(fd, &zero, &old) && !old.tcx) {
		loader->attachment.tc_handle[0] = old.tc_handle[0];
		loader->attachment.tc_priority[0] = old.tc_priority[0];
	}
	close(fd);
}

/* The knobs hold the secret of re-entered packets: not for the worker, which is forked from here.
 */
static int hide_knobs(const struct loader *loader)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = sizeof(*loader->object->rodata);

	len = (len + page - 1) / page * page;
	return madvise(loader->object->rodata, len, MADV_DONTFORK) ? -errno : 0;
}

static int store_attachment(struct loader *loader)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(loader->object->maps.attachment), &zero,
				   &loader->attachment, 0)
		       ? -errno
		       : 0;
}

int loader_init(struct loader *loader, const struct loader_config *config,
		struct ipsecbpf_report *report)
{
	int err;

	*loader = (struct loader){ .config = *config, .link_fd = { -1, -1, -1 } };
	err = paths_init(&loader->paths, config->ifname);
	if (err)
		return err;
	loader_log_begin();
	loader->object = ipsecbpf_bpf__open();
	if (!loader->object)
		err = -errno;
	if (!err)
		err = set_knobs(loader);
	if (!err)
		err = config->live ? share_state(loader) : set_sizes(loader);
	if (!err)
		err = ipsecbpf_bpf__load(loader->object);
	if (!err && config->live)
		loader->attachment = config->live->attachment;
	else if (!err)
		err = set_state(loader);
	if (!err)
		err = hide_knobs(loader);
	if (!err && !config->live) {
		loader->attachment.tcx =
			hook_has_tcx(bpf_program__fd(loader->object->progs.tc_egress));
		inherit_filter(loader);
		err = store_attachment(loader);
	}
	loader_log_end();
	if (err) {
		report_error(report, config->ifname,
			     err == -EPERM ? "run it as root" :
					     "ipsecbpf preflight says what is missing",
			     "the kernel did not take the BPF programs: %s\n%s", strerror(-err),
			     libbpf_log);
		loader_fini(loader);
	}
	return err;
}

void loader_fini(struct loader *loader)
{
	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		if (loader->link_fd[hook] >= 0)
			close(loader->link_fd[hook]);
		loader->link_fd[hook] = -1;
	}
	ipsecbpf_bpf__destroy(loader->object);
	loader->object = NULL;
}

int loader_pins(struct loader *loader, struct pins *ret_pins)
{
	struct pins pins = { .paths = loader->paths, .attachment = loader->attachment };
	void *area;

	snprintf(pins.ifname, sizeof(pins.ifname), "%s", loader->config.ifname);
	area = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(loader->object->maps.control), 0);
	if (area == MAP_FAILED)
		return -errno;
	pins.control = area;
#define X(map) pins.map##_fd = fcntl(bpf_map__fd(loader->object->maps.map), F_DUPFD_CLOEXEC, 3);
	PINNED_MAPS(X)
#undef X
	/* Descriptors run out one after the other: the last one tells for all. */
	if (pins.events_fd < 0) {
		pins_close(&pins);
		return -EMFILE;
	}
	*ret_pins = pins;
	return 0;
}

static int hook_program(const struct loader *loader, enum hook hook)
{
	const struct bpf_program *progs[] = {
		[HOOK_tc_host_port] = loader->object->progs.tc_host_port,
		[HOOK_tc_egress] = loader->object->progs.tc_egress,
		[HOOK_xdp_ingress] = loader->object->progs.xdp_ingress,
	};

	return bpf_program__fd(progs[hook]);
}

/* Moves the link that a guard left to our program. -ENOENT if there is none. */
static int take_over_link(struct loader *loader, enum hook hook)
{
	char path[256];
	int err = 0, fd;

	if (hook == HOOK_tc_host_port)
		return -ENOENT; /* the guard's host port is gone, and its link with it */
	pin_link_path(&loader->paths, hook, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_link_update(fd, hook_program(loader, hook), NULL))
		err = errno == ENOLINK ? -ENOENT : -errno; /* detached: its interface went */
	if (err) {
		close(fd);
		return err;
	}
	loader->link_fd[hook] = fd;
	loader->replaced[hook] = true;
	return 0;
}

static int attach_clsact(struct loader *loader, enum hook hook, uint32_t ifindex)
{
	bool egress = hook == HOOK_tc_egress;
	int err;

	err = hook_attach_clsact(hook_program(loader, hook), ifindex, egress,
				 &loader->attachment.tc_handle[!egress],
				 &loader->attachment.tc_priority[!egress]);
	if (err)
		return err;
	loader->filter[hook] = true;
	return store_attachment(loader);
}

static int attach_new(struct loader *loader, enum hook hook)
{
	const struct loader_config *config = &loader->config;
	uint32_t ifindex = hook == HOOK_tc_host_port ? config->host_ifindex : config->ifindex;
	int fd;

	if (hook == HOOK_xdp_ingress)
		fd = hook_attach_xdp(hook_program(loader, hook), ifindex, config->xdp_generic);
	else if (loader->attachment.tcx)
		fd = hook_attach_tcx(hook_program(loader, hook), ifindex, hook == HOOK_tc_egress);
	else
		return attach_clsact(loader, hook, ifindex);
	if (fd < 0)
		return fd;
	loader->link_fd[hook] = fd;
	return 0;
}

static void explain_attach(const struct loader *loader, enum hook hook, int err,
			   struct ipsecbpf_report *report)
{
	const char *ifname = loader->config.ifname,
		   *next = "ipsecbpf preflight says what is missing";
	char cause[128];

	snprintf(cause, sizeof(cause), "%s", strerror(-err));
	if (hook == HOOK_xdp_ingress && (err == -EBUSY || err == -EEXIST)) {
		snprintf(cause, sizeof(cause), "another XDP program is attached");
		next = "ip link show shows its id; detach it with the tool that owns it";
	} else if (hook == HOOK_xdp_ingress && err == -EOPNOTSUPP) {
		snprintf(cause, sizeof(cause), "the driver has no native XDP");
		next = "attach with --xdp generic";
	}
	report_error(report, ifname, next, "cannot attach %s: %s", hook_name(hook), cause);
}

int loader_attach(struct loader *loader, enum hook hook, struct ipsecbpf_report *report)
{
	int err = take_over_link(loader, hook);

	if (err == -ENOENT)
		err = attach_new(loader, hook);
	if (err)
		explain_attach(loader, hook, err, report);
	return err;
}

static int pin_link(struct loader *loader, enum hook hook)
{
	char path[256];

	if (loader->link_fd[hook] < 0 || loader->replaced[hook])
		return 0;
	pin_link_path(&loader->paths, hook, path, sizeof(path));
	unlink(path); /* of a host port that is gone */
	return bpf_obj_pin(loader->link_fd[hook], path) ? -errno : 0;
}

static int pin_map(struct loader *loader, const char *name, int fd)
{
	char path[256], fresh[256];

	/* Replaced in one step: an attachment is never without one of its maps. */
	pin_map_path(&loader->paths, name, path, sizeof(path));
	pin_new_map_path(&loader->paths, name, fresh, sizeof(fresh));
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh))
		return -errno;
	return rename(fresh, path) ? -errno : 0;
}

static int pin_directory(struct loader *loader, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", loader->paths.pins, name);
	return paths_mkdir(path, 0700);
}

static int explain_pin(const struct loader *loader, int err, struct ipsecbpf_report *report)
{
	if (err)
		report_error(report, loader->paths.pins, "is bpffs mounted and writable?",
			     "cannot pin maps and links: %s", strerror(-err));
	return err;
}

bool loader_is_attached(const struct loader *loader, enum hook hook)
{
	return loader->link_fd[hook] >= 0 || loader->filter[hook];
}

int loader_pin_maps(struct loader *loader, struct ipsecbpf_report *report)
{
	int err = pin_directory(loader, "maps");

#define X(map)    \
	if (!err) \
		err = pin_map(loader, #map, bpf_map__fd(loader->object->maps.map));
	PINNED_MAPS(X)
#undef X
	return explain_pin(loader, err, report);
}

int loader_pin_links(struct loader *loader, struct ipsecbpf_report *report)
{
	int err = pin_directory(loader, "links");

	for (int hook = 0; !err && hook < HOOK_COUNT; hook++)
		err = pin_link(loader, (enum hook)hook);
	return explain_pin(loader, err, report);
}

void loader_undo(struct loader *loader, bool over_guard)
{
	const struct attachment *attachment = &loader->attachment;

	if (over_guard)
		return;
	if (loader->filter[HOOK_tc_egress])
		hook_detach_clsact(attachment->ifindex, true, attachment->tc_handle[0],
				   attachment->tc_priority[0]);
	if (loader->filter[HOOK_tc_host_port])
		hook_detach_clsact(attachment->host_ifindex, false, attachment->tc_handle[1],
				   attachment->tc_priority[1]);
	pins_remove(&loader->paths);
}

void loader_detach_clsact(const struct attachment *attachment)
{
	if (attachment->tcx)
		return;
	hook_detach_clsact(attachment->ifindex, true, attachment->tc_handle[0],
			   attachment->tc_priority[0]);
	hook_detach_clsact(attachment->host_ifindex, false, attachment->tc_handle[1],
			   attachment->tc_priority[1]);
}
