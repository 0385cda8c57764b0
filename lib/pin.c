// SPDX-License-Identifier: BSD-2-Clause
#include "pin.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app_hooks.h"
#include "hook_attach.h"

#define HOOK_MAPS_MAX 64
#define LOCK_TRIES    40
#define LOCK_PAUSE_NS 50000000

const char *hook_name(enum hook hook)
{
	static const char *const names[] = {
#define X(id) #id,
		PINNED_LINKS(X)
#undef X
	};

	return names[hook];
}

void pin_map_path(const struct paths *paths, const char *map, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s/maps/%s", paths->pins, map);
}

void pin_new_map_path(const struct paths *paths, const char *map, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s/maps/new-%s", paths->pins, map);
}

void pin_link_path(const struct paths *paths, enum hook hook, char *out, size_t out_len)
{
	snprintf(out, out_len, "%s/links/%s", paths->pins, hook_name(hook));
}

static int open_map(const struct paths *paths, const char *map)
{
	char path[256];
	int fd;

	pin_map_path(paths, map, path, sizeof(path));
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static int open_maps(struct pins *pins)
{
#define X(map)                                         \
	pins->map##_fd = open_map(&pins->paths, #map); \
	if (pins->map##_fd < 0)                        \
		return pins->map##_fd;
	PINNED_MAPS(X)
#undef X
	return 0;
}

static int map_control(struct pins *pins)
{
	void *area = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
			  pins->control_fd, 0);

	if (area == MAP_FAILED)
		return -errno;
	pins->control = area;
	return 0;
}

static int check_abi(const struct pins *pins, const char *ifname, struct ipsecbpf_report *report)
{
	uint32_t live = pins->attachment.abi_version;

	if (live == IPSECBPF_ABI_VERSION)
		return 0;
	report_error(report, ifname,
		     "use the ipsecbpf that attached it, or detach --open and attach again",
		     "the attached programs speak ABI version %u, this command speaks %u: the %s "
		     "is older",
		     live, IPSECBPF_ABI_VERSION,
		     live < IPSECBPF_ABI_VERSION ? "attachment" : "command");
	return -EPROTO;
}

static void pins_clear(struct pins *pins)
{
#define X(map) pins->map##_fd = -1;
	PINNED_MAPS(X)
#undef X
	pins->control = NULL;
}

static int name_paths(struct paths *paths, const char *ifname, struct ipsecbpf_report *report)
{
	int err = paths_init(paths, ifname);

	if (err)
		report_error(report, ifname, "ip link shows the names", "not an interface name");
	return err;
}

int pins_open(struct pins *pins, const char *ifname, struct ipsecbpf_report *report)
{
	uint32_t zero = 0;
	int err;

	pins_clear(pins);
	err = name_paths(&pins->paths, ifname, report);
	if (err)
		return err;
	snprintf(pins->ifname, sizeof(pins->ifname), "%s", ifname);
	err = open_maps(pins);
	if (err == -ENOENT) {
		report_error(report, ifname,
			     "ipsecbpf attach it first; ipsecbpf status lists attachments",
			     "not attached in this network namespace");
		goto out;
	}
	if (!err)
		err = map_control(pins);
	if (!err && bpf_map_lookup_elem(pins->attachment_fd, &zero, &pins->attachment))
		err = -errno;
	if (err) {
		report_error(report, pins->paths.pins, "are you root?",
			     "cannot open the pinned maps: %s", strerror(-err));
		goto out;
	}
	err = check_abi(pins, ifname, report);
out:
	if (err)
		pins_close(pins);
	return err;
}

void pins_close(struct pins *pins)
{
	if (pins->control)
		munmap(pins->control, (size_t)sysconf(_SC_PAGESIZE));
#define X(map)                   \
	if (pins->map##_fd >= 0) \
		close(pins->map##_fd);
	PINNED_MAPS(X)
#undef X
	pins_clear(pins);
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

bool pins_replaced(const struct pins *pins)
{
	int fd = open_map(&pins->paths, "control");
	bool replaced = fd < 0 ? fd == -ENOENT : map_id(fd) != map_id(pins->control_fd);

	if (fd >= 0)
		close(fd);
	return replaced;
}

/* Does the program read the map of this id? */
static bool program_uses(uint32_t prog_id, uint32_t control_id)
{
	uint32_t ids[HOOK_MAPS_MAX], len = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = {
		.nr_map_ids = HOOK_MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)ids,
	};
	int err, fd = bpf_prog_get_fd_by_id(prog_id);

	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	for (uint32_t i = 0; !err && i < info.nr_map_ids && i < HOOK_MAPS_MAX; i++)
		if (ids[i] == control_id)
			return true;
	return false;
}

/* The kernel keeps the link of a hook that it took off, and says so by its interface: none. */
static bool link_is_off(const struct pins *pins, enum hook hook, uint32_t *ret_prog_id)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[256];
	bool off;
	int fd;

	pin_link_path(&pins->paths, hook, path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return true;
	/* A tcx link, unknown to Debian 12's headers, has its interface in the same place. */
	off = bpf_obj_get_info_by_fd(fd, &info, &len) ||
	      info.xdp.ifindex != pins->attachment.ifindex;
	close(fd);
	*ret_prog_id = info.prog_id;
	return off;
}

/* Is a hook off its place? Where egress is a clsact filter, it has no link. */
static bool hook_is_off(const struct pins *pins, enum hook hook, uint32_t *ret_prog_id)
{
	const struct attachment *attachment = &pins->attachment;

	if (hook == HOOK_xdp_ingress || attachment->tcx)
		return link_is_off(pins, hook, ret_prog_id);
	*ret_prog_id = hook_query_clsact(attachment->ifindex, true, attachment->tc_handle[0],
					 attachment->tc_priority[0]);
	return !*ret_prog_id;
}

bool pins_program_uses(uint32_t prog_id, int map_fd)
{
	return program_uses(prog_id, map_id(map_fd));
}

bool pins_have_links(const struct paths *paths)
{
	char path[256];
	bool found = false;

	for (int hook = 0; hook < HOOK_COUNT; hook++) {
		pin_link_path(paths, (enum hook)hook, path, sizeof(path));
		found |= !access(path, F_OK);
	}
	return found;
}

bool pins_gone(const struct pins *pins)
{
	uint32_t prog_id;

	return if_nametoindex(pins->ifname) != pins->attachment.ifindex ||
	       hook_is_off(pins, HOOK_xdp_ingress, &prog_id) ||
	       hook_is_off(pins, HOOK_tc_egress, &prog_id);
}

uint32_t pins_program(const struct pins *pins, enum hook hook)
{
	uint32_t prog_id;

	return hook_is_off(pins, hook, &prog_id) ? 0 : prog_id;
}

bool pins_stale(const struct pins *pins)
{
	uint32_t xdp, egress, control_id = map_id(pins->control_fd);

	return hook_is_off(pins, HOOK_xdp_ingress, &xdp) ||
	       hook_is_off(pins, HOOK_tc_egress, &egress) || !program_uses(xdp, control_id) ||
	       !program_uses(egress, control_id);
}

int pins_check_nic(const struct pins *pins, struct ipsecbpf_report *report)
{
	if (!pins_gone(pins)) {
		if (!pins_stale(pins))
			return 0;
		report_error(report, pins->ifname, "ipsecbpf attach it again",
			     "an attach over a guard was interrupted: the hooks are the guard's");
		return -ESTALE;
	}
	report_error(report, pins->ifname, "ipsecbpf detach --open it, then attach again",
		     "the interface was removed, or a hook taken off it: it is not protected");
	return -ENODEV;
}

void pins_guard(const struct pins *pins)
{
	uint32_t running = ATTACH_RUNNING;

	__atomic_compare_exchange_n(&pins->control->state, &running, ATTACH_GUARD, false,
				    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/*
 * Detaches at once. A link without pin and descriptor is detached too, but by deferred work in the
 * kernel: the first packets after `detach --open` would still meet the hook.
 */
static void remove_link(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
}

void pins_remove(const struct paths *paths)
{
	static const char *const maps[] = {
#define X(map) #map,
		PINNED_MAPS(X)
#undef X
	};
	char path[256];

	/* Inbound first to go, outbound last: for a moment both sides drop rather than leak. */
	for (int hook = HOOK_COUNT - 1; hook >= 0; hook--) {
		pin_link_path(paths, hook, path, sizeof(path));
		remove_link(path);
	}
	app_hooks_remove(paths);
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		pin_map_path(paths, maps[i], path, sizeof(path));
		unlink(path);
		/* What an attach that was killed may have left. */
		pin_new_map_path(paths, maps[i], path, sizeof(path));
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/maps", paths->pins);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/links", paths->pins);
	rmdir(path);
	rmdir(paths->pins);
}

/* What a process was started as, on one line; "" if it is gone. */
static void command_of(int pid, char *out, size_t out_len)
{
	char path[32];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, out, out_len - 1);
	if (fd >= 0)
		close(fd);
	while (len > 0 && !out[len - 1])
		len--;
	for (ssize_t i = 0; i < len; i++)
		if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
			out[i] = out[i] ? '?' : ' ';
	out[len > 0 ? len : 0] = '\0';
}

static void report_holder(const struct paths *paths, struct ipsecbpf_report *report)
{
	int pid = 0, fd = open(paths->lock, O_RDONLY | O_CLOEXEC);
	char text[16] = "", command[160] = "";

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && sscanf(text, "%d", &pid) == 1 &&
	    pid > 0)
		command_of(pid, command, sizeof(command));
	if (fd >= 0)
		close(fd);
	if (command[0])
		report_error(report, paths->dir, "wait for it, or look what it is doing",
			     "process %d is changing this attachment: %s", pid, command);
	else
		report_error(report, paths->dir, "try again",
			     "another ipsecbpf is changing this attachment");
}

int pins_try_lock(const struct paths *paths)
{
	struct stat ours, current;
	int fd = open(paths->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	/* pins_unlock() may have removed the file: a lock on a removed one excludes nobody. */
	if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &ours) && !stat(paths->lock, &current) &&
	    ours.st_ino == current.st_ino)
		return fd;
	close(fd);
	return -EWOULDBLOCK;
}

int pins_lock(const struct paths *paths, struct ipsecbpf_report *report)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	int err, fd, len;
	char pid[16];

	err = paths_mkdir(RUN_ROOT, 0700);
	fd = err ? err : pins_try_lock(paths);
	for (int i = 0; fd == -EWOULDBLOCK && i < LOCK_TRIES; i++) {
		nanosleep(&pause, NULL);
		fd = pins_try_lock(paths);
	}
	if (fd == -EWOULDBLOCK) {
		report_holder(paths, report);
		return -EBUSY;
	}
	if (fd < 0) {
		report_error(report, paths->lock, "are you root?", "cannot open the lock: %s",
			     strerror(-fd));
		return fd;
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)len, 0) != len)
		report_warning(report, paths->lock, NULL, "cannot note the holder: %s",
			       strerror(errno));
	return fd;
}

void pins_unlock(const struct paths *paths, int lock)
{
	if (access(paths->pins, F_OK))
		unlink(paths->lock);
	close(lock);
}

int pins_open_locked(struct pins *pins, const char *ifname, struct ipsecbpf_report *report)
{
	struct paths paths;
	int err, lock;

	err = name_paths(&paths, ifname, report);
	if (err)
		return err;
	lock = pins_lock(&paths, report);
	if (lock < 0)
		return lock;
	err = pins_open(pins, ifname, report);
	if (err) {
		pins_unlock(&paths, lock);
		return err;
	}
	return lock;
}

void pins_close_locked(struct pins *pins, int lock)
{
	pins_close(pins);
	pins_unlock(&pins->paths, lock);
}
