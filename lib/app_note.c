// SPDX-License-Identifier: BSD-2-Clause
#include "app_note.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "ipsecbpf_note.skel.h"
#pragma GCC diagnostic pop

struct app_noter {
	struct ipsecbpf_note_bpf *object;
};

static int keep_silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* The pinned map, or none: what the program does not use is not made. */
static int take_map(struct bpf_map *map, const struct paths *paths)
{
	char path[256];
	int err, fd;

	if (bpf_map__is_internal(map))
		return 0;
	pin_map_path(paths, bpf_map__name(map), path, sizeof(path));
	fd = bpf_obj_get(path);
	if (fd < 0)
		return bpf_map__set_autocreate(map, false);
	err = bpf_map__reuse_fd(map, fd);
	close(fd);
	return err;
}

static int load(struct app_noter *noter, const struct pins *pins)
{
	struct bpf_map *map;
	int err = 0;

	noter->object = ipsecbpf_note_bpf__open();
	if (!noter->object)
		return -errno;
	bpf_object__for_each_map(map, noter->object->obj)
		if (!err)
			err = take_map(map, &pins->paths);
	return err ? err : ipsecbpf_note_bpf__load(noter->object);
}

struct app_noter *app_noter_open(const struct pins *pins)
{
	libbpf_print_fn_t old_print = libbpf_set_print(keep_silent);
	struct app_noter *noter = calloc(1, sizeof(*noter));
	int err = noter ? load(noter, pins) : -ENOMEM;

	libbpf_set_print(old_print);
	if (!err)
		return noter;
	app_noter_close(noter);
	errno = -err;
	return NULL;
}

void app_noter_close(struct app_noter *noter)
{
	if (!noter)
		return;
	ipsecbpf_note_bpf__destroy(noter->object);
	free(noter);
}

int app_noter_note(const struct app_noter *noter, const struct app_note *note)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = note, .data_size_in = sizeof(*note),
		    .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(noter->object->progs.app_note), &opts))
		return -errno;
	if (!opts.retval)
		return 0;
	return opts.retval == DROP_APP_FULL ? -ENOSPC : -EIO;
}
