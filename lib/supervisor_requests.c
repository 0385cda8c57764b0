// SPDX-License-Identifier: BSD-2-Clause
/* What the command line asks of the supervisor, and the answers. */
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "crypto.h"
#include "supervisor_internal.h"

static int64_t trial_left(const struct supervisor *supervisor)
{
	struct itimerspec left;

	if (supervisor->trial_fd < 0 || timerfd_gettime(supervisor->trial_fd, &left))
		return -1;
	return left.it_value.tv_sec + (left.it_value.tv_nsec > 0);
}

static void engine_names(const char *only, char *out, size_t out_len)
{
	const struct crypto_engine *engine;
	size_t used = 0;

	out[0] = '\0';
	for (unsigned int i = 0; (engine = crypto_engine_at(i)); i++)
		if (engine->probe() && (!only || !strcmp(only, engine->name)) && used < out_len)
			used += (size_t)snprintf(out + used, out_len - used, "%s%s",
						 used ? ", " : "", engine->name);
}

static uint32_t smallest_inner_mtu(const struct supervisor *supervisor)
{
	uint32_t count = 0, smallest = 0;
	struct control_sa *list = sad_list(&supervisor->sad, supervisor->config->mtu, &count);

	for (uint32_t i = 0; list && i < count; i++)
		if (list[i].info.direction == SPD_OUT &&
		    (!smallest || list[i].info.inner_mtu < smallest))
			smallest = list[i].info.inner_mtu;
	free(list);
	return smallest;
}

static int reply_status(struct supervisor *supervisor, int fd)
{
	struct control_status status = {
		.supervisor_pid = getpid(),
		.worker_pid = supervisor->worker.pid,
		.worker_restarts = supervisor->worker.restarts,
		.queues = supervisor->config->queues,
		.sas_in = supervisor->sad.counts[SPD_IN],
		.sas_out = supervisor->sad.counts[SPD_OUT],
		.mtu = supervisor->config->mtu,
		.inner_mtu = smallest_inner_mtu(supervisor),
		.trial_left = trial_left(supervisor),
		.zero_copy = supervisor->worker.ports[0].zero_copy,
		.busy_poll_us = supervisor->config->busy_poll_us,
		.keeper_gone = !supervisor->keeper.pid,
	};

	memcpy(status.host_port, supervisor->config->host->ifname, sizeof(status.host_port));
	engine_names(supervisor->config->engine, status.engine, sizeof(status.engine));
	return control_reply(fd, CONTROL_STATUS, 0, &status, sizeof(status), NULL);
}

/* What came over the socket is from root, but a wrong number must still not index out of bounds. */
static bool sane(const struct sa_config *sa)
{
	return sa->protect_id && sa->protect_id < PROTECT_MAX && suite_at(sa->suite) &&
	       (sa->proto == IPPROTO_ESP || sa->proto == IPPROTO_AH) &&
	       be32toh(sa->spi) > SPI_RESERVED_MAX && !sa_key_is_weak(sa) &&
	       sa->family < FAMILY_COUNT && sa->next_hop_family < FAMILY_COUNT &&
	       sa->direction < SPD_DIRECTION_COUNT && sa->within_id < PROTECT_MAX &&
	       sa->replay_window <= REPLAY_WINDOW_MAX && !sa->peer[NAME_LEN - 1] &&
	       !sa->protection[NAME_LEN - 1];
}

static bool all_sane(const struct sa_config *configs, size_t len)
{
	for (size_t i = 0; i < len / sizeof(*configs); i++)
		if (!sane(&configs[i]))
			return false;
	return !(len % sizeof(*configs));
}

static int reply_sa_apply(struct supervisor *supervisor, int fd,
			  const struct control_header *request, const struct sa_config *configs)
{
	struct ipsecbpf_report report = { 0 };
	struct ipsecbpf_sa_result result = { 0 };
	int err = -EPROTO;

	if (all_sane(configs, request->len))
		err = sad_apply(&supervisor->sad, configs, request->len / sizeof(*configs),
				request->flags, &result, &report);
	err = control_reply(fd, CONTROL_SA_APPLY, err, &result, sizeof(result), &report);
	report_fini(&report);
	return err;
}

static int reply_sa_rotate(struct supervisor *supervisor, int fd,
			   const struct control_header *request, const void *payload)
{
	const struct control_rotate *timing = payload;
	const struct sa_config *configs = (const void *)(timing + 1);
	struct ipsecbpf_report report = { 0 };
	struct ipsecbpf_sa_result result = { 0 };
	size_t len = request->len - sizeof(*timing);
	int err = -EPROTO;

	if (request->len >= sizeof(*timing) && all_sane(configs, len))
		err = sad_rotate(&supervisor->sad, configs, len / sizeof(*configs), request->flags,
				 timing, &result, &report);
	err = control_reply(fd, CONTROL_SA_ROTATE, err, &result, sizeof(result), &report);
	report_fini(&report);
	return err;
}

static int reply_sa_delete(struct supervisor *supervisor, int fd,
			   const struct control_header *request, const struct ipsecbpf_sa_id *id)
{
	struct ipsecbpf_report report = { 0 };
	int err = -EPROTO;

	if (request->len == sizeof(*id))
		err = sad_delete(&supervisor->sad, id, &report);
	err = control_reply(fd, CONTROL_SA_DELETE, err, NULL, 0, &report);
	report_fini(&report);
	return err;
}

static int reply_sa_events(struct supervisor *supervisor, int fd,
			   const struct control_header *request, const uint64_t *since)
{
	static struct ipsecbpf_sa_event events[SA_EVENTS_KEPT];
	const struct ipsecbpf_report none = { 0 };
	int err = request->len == sizeof(*since) ? 0 : -EPROTO;
	uint32_t count = err ? 0 : sad_events(&supervisor->sad, *since, events);

	return control_reply(fd, CONTROL_SA_EVENTS, err, events,
			     (uint32_t)(count * sizeof(*events)), &none);
}

static int reply_sa_list(struct supervisor *supervisor, int fd)
{
	uint32_t count = 0;
	struct control_sa *list = sad_list(&supervisor->sad, supervisor->config->mtu, &count);
	struct ipsecbpf_report empty = { 0 };
	int err;

	err = control_reply(fd, CONTROL_SA_LIST, list ? 0 : -ENOMEM, list,
			    (uint32_t)(count * sizeof(*list)), &empty);
	free(list);
	return err;
}

static int reply_confirm(struct supervisor *supervisor, int fd)
{
	struct ipsecbpf_report report = { 0 };
	int err = 0;

	if (supervisor->trial_fd < 0) {
		report_error(&report, supervisor->config->ifname, NULL,
			     "no trial period is running");
		err = -ENOENT;
	} else {
		close(supervisor->trial_fd);
		supervisor->trial_fd = -1;
	}
	err = control_reply(fd, CONTROL_CONFIRM, err, NULL, 0, &report);
	report_fini(&report);
	return err;
}

/* The hooks go by the deadline themselves: this is for what remains to be tidied up. */
static int reply_policy_trial(struct supervisor *supervisor, int fd)
{
	const struct ipsecbpf_report none = { 0 };

	return control_reply(fd, CONTROL_POLICY_TRIAL, supervisor_note_trial(supervisor), NULL, 0,
			     &none);
}

int supervisor_answer(struct supervisor *supervisor, int fd, const struct control_header *request,
		      const void *payload)
{
	const struct ipsecbpf_report none = { 0 };
	uint32_t removed;

	switch (request->type) {
	case CONTROL_STATUS:
		return reply_status(supervisor, fd);
	case CONTROL_SA_APPLY:
		return reply_sa_apply(supervisor, fd, request, payload);
	case CONTROL_SA_ROTATE:
		return reply_sa_rotate(supervisor, fd, request, payload);
	case CONTROL_SA_DELETE:
		return reply_sa_delete(supervisor, fd, request, payload);
	case CONTROL_SA_EVENTS:
		return reply_sa_events(supervisor, fd, request, payload);
	case CONTROL_SA_LIST:
		return reply_sa_list(supervisor, fd);
	case CONTROL_SA_FLUSH:
		removed = sad_flush(&supervisor->sad);
		sad_forget_had_sa(&supervisor->sad);
		return control_reply(fd, CONTROL_SA_FLUSH, 0, &removed, sizeof(removed), NULL);
	case CONTROL_CONFIRM:
		return reply_confirm(supervisor, fd);
	case CONTROL_POLICY_TRIAL:
		return reply_policy_trial(supervisor, fd);
	case CONTROL_WATCH_NAMES:
		return control_reply(fd, request->type,
				     watch_keeper_order(&supervisor->keeper, KEEPER_NAMES), NULL, 0,
				     &none);
	case CONTROL_STOP:
		supervisor->stopping = true;
		return 0; /* answered when it is done */
	default:
		return control_reply(fd, request->type, -EPROTO, NULL, 0, &none);
	}
}
