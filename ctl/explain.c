// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain_output.h"
#include "lib/app_live.h"
#include "lib/process_sockets.h"
#include "output.h"
#include "verbs.h"

#define WORDS 6	/* in|out SRC DST PROTOCOL SPORT DPORT */
#define CAPTURE_ROWS_MAX 4096
#define PROBLEMS_SHOWN 10	/* packets that nothing can be said of, each with its error */
#define OBJECT "ipsecbpf explain"

struct explain_args {
	const char *ifname;
	const char *words[WORDS];
	const char *icmp, *dscp, *pcap, *app;
	uint32_t vlan, spi, packet, pid;
	bool forwarded;
};

#define AT(field) offsetof(struct explain_args, field)
static const struct operand_def operands[] = {
	{ "IFNAME", OPERAND_IFNAME, AT(ifname) },
	{ "in|out", OPERAND_DIRECTION, AT(words[0]), .optional = true },
	{ "SRC", OPERAND_WORD, AT(words[1]), .optional = true },
	{ "DST", OPERAND_WORD, AT(words[2]), .optional = true },
	{ "PROTOCOL", OPERAND_WORD, AT(words[3]), .optional = true },
	{ "SPORT", OPERAND_WORD, AT(words[4]), .optional = true },
	{ "DPORT", OPERAND_WORD, AT(words[5]), .optional = true },
	OPERAND_END,
};

static const struct option_def options[] = {
	{ "icmp", 0, OPT_STRING, "TYPE[/CODE]", "ICMP type and code; without it, an echo request",
	  AT(icmp) },
	{ "spi", 0, OPT_UINT, "SPI", "of ESP or AH, or of ESP in UDP", AT(spi), .min = 1,
	  .max = UINT32_MAX },
	{ "vlan", 0, OPT_UINT, "ID", "the frame has a VLAN tag", AT(vlan), .min = 1,
	  .max = VLAN_ID_MAX },
	{ "dscp", 0, OPT_STRING, "DSCP", "codepoint, by name (ef, af11, ...) or number", AT(dscp) },
	{ "forwarded", 0, OPT_FLAG, NULL, "out: it came in by another interface", AT(forwarded) },
	{ "pcap", 0, OPT_FILE, "FILE", "the packets of a capture, pcap or pcapng, one line each",
	  AT(pcap) },
	{ "packet", 0, OPT_UINT, "N", "only this packet of the capture, in full",
	  AT(packet), .min = 1, .max = UINT32_MAX },
	{ "pid", 0, OPT_UINT, "PID",
	  "the connected TCP and UDP sockets of a process, each as the application's that made it",
	  AT(pid), .min = 1, .max = INT32_MAX },
	{ "app", 0, OPT_STRING, "NAME", "as if it were this application's packet", AT(app) },
	OPTION_END,
};

/* What the words say. */
struct request {
	enum spd_direction direction;
	bool direction_given;
	const char *words[WORDS];	/* SRC DST PROTOCOL SPORT DPORT; NULL from the first missing on */
	struct packet_spec spec;
};

static int usage_error(struct ipsecbpf_report *report, const char *cause)
{
	report_error(report, OBJECT, "ipsecbpf explain --help", "%s", cause);
	return EXIT_USAGE;
}

/* ---- the packet from words ------------------------------------------------------------------ */

static int bad_word(struct ipsecbpf_report *report, const char *word, const char *wanted)
{
	report_error(report, OBJECT, NULL, "\"%s\" is not %s", word, wanted);
	return EXIT_USAGE;
}

static int take_address(const char *word, union wire_addr *ret_addr, enum ip_family *ret_family,
			struct ipsecbpf_report *report)
{
	struct address_range range;
	const char *error;

	if (!address_parse(word, &range, &error) || range.lo.hi != range.hi.hi ||
	    range.lo.lo != range.hi.lo)
		return bad_word(report, word, "one IPv4 or IPv6 address");
	*ret_family = (enum ip_family)range.family;
	*ret_addr = addr128_to_wire(range.family, range.lo);
	return 0;
}

static int take_port(const char *word, uint16_t *ret_port, struct ipsecbpf_report *report)
{
	uint64_t port;

	if (!parse_uint(word, strlen(word), UINT16_MAX, &port))
		return bad_word(report, word, "a port (0-65535)");
	*ret_port = (uint16_t)port;
	return 0;
}

/* One port is the destination's; of two, the first is the source's. */
static int take_ports(struct request *request, unsigned int *given,
		      struct ipsecbpf_report *report)
{
	const char *first = request->words[3], *second = request->words[4];
	int code = 0;

	if (first && second) {
		code = take_port(first, &request->spec.src_port, report);
		*given |= GIVEN_SRC_PORT;
	}
	if (!code && first) {
		code = take_port(second ? second : first, &request->spec.dst_port, report);
		*given |= GIVEN_DST_PORT;
	}
	return code;
}

static int take_icmp(const char *text, struct packet_spec *spec, unsigned int *given,
		     struct ipsecbpf_report *report)
{
	size_t type_len = strcspn(text, "/");
	uint64_t type, code = 0;

	if (!parse_uint(text, type_len, UINT8_MAX, &type) ||
	    (text[type_len] &&
	     !parse_uint(text + type_len + 1, strlen(text + type_len + 1), UINT8_MAX, &code)))
		return bad_word(report, text, "TYPE or TYPE/CODE, numbers from 0 to 255");
	spec->icmp_type = (uint8_t)type;
	spec->icmp_code = (uint8_t)code;
	*given |= GIVEN_ICMP_TYPE | GIVEN_ICMP_CODE;
	return 0;
}

static int take_words(struct request *request, const struct explain_args *args,
		      struct ipsecbpf_report *report)
{
	enum ip_family src = FAMILY_V4, dst = FAMILY_V4;
	struct packet_spec *spec = &request->spec;
	unsigned int given = GIVEN_SRC | GIVEN_DST;
	const char *problem;
	int code;

	if (!request->words[0] || !request->words[1])
		return usage_error(report, "SRC and DST are missing");
	code = take_address(request->words[0], &spec->src, &src, report);
	if (!code)
		code = take_address(request->words[1], &spec->dst, &dst, report);
	if (!code && request->words[2]) {
		given |= GIVEN_PROTOCOL;
		if (!packet_protocol_parse(request->words[2], &spec->proto))
			code = bad_word(report, request->words[2], "a protocol's name or number");
	}
	if (!code)
		code = take_ports(request, &given, report);
	if (!code && args->icmp)
		code = take_icmp(args->icmp, spec, &given, report);
	if (!code && args->dscp && !packet_dscp_parse(args->dscp, &spec->dscp))
		code = bad_word(report, args->dscp, "a DSCP (ef, af11, ... or 0-63)");
	if (code)
		return code;
	spec->vlan = (uint16_t)args->vlan;
	spec->spi = args->spi;
	given |= args->spi ? GIVEN_SPI : 0;
	problem = packet_spec_finish(spec, given, src, dst);
	return problem ? usage_error(report, problem) : 0;
}

/* ---- what was asked ------------------------------------------------------------------------- */

/* Without a direction: a packet goes out, but those of a capture went either way. */
static bool take_direction(struct request *request, const struct explain_args *args)
{
	const char *first = args->words[0];
	bool in = first && !strcmp(first, "in"), out = first && !strcmp(first, "out");

	request->direction = in ? SPD_IN : SPD_OUT;
	request->direction_given = in || out;
	for (size_t i = 0; i + (in || out) < WORDS; i++)
		request->words[i] = args->words[i + (in || out)];
	return request->words[WORDS - 1] == NULL;
}

/* Which of the ways to name a packet belong together. */
static int check_request(const struct explain_args *args, const struct request *request,
			 struct ipsecbpf_report *report)
{
	bool described = request->words[0] || args->icmp || args->spi || args->vlan ||
			 args->dscp;

	if (args->pcap && args->pid)
		return usage_error(report, "--pcap and --pid are two different questions");
	if ((args->pcap || args->pid) && described)
		return usage_error(report, "with --pcap or --pid, the packet is not described besides");
	if (args->pcap && !request->direction_given)
		return usage_error(report, "--pcap needs in or out: every packet is asked about as "
				   "if it arrived, or left, here");
	if (args->packet && !args->pcap)
		return usage_error(report, "--packet needs --pcap");
	if (args->pid && (request->direction == SPD_IN || args->forwarded))
		return usage_error(report, "with --pid, it is about what the process sends");
	if (args->pid && args->app)
		return usage_error(report, "--pid says which application it is: without --app");
	if (args->app && args->forwarded)
		return usage_error(report, "what is forwarded is no application's: without --app");
	if (args->forwarded && request->direction == SPD_IN)
		return usage_error(report, "--forwarded is for packets that go out");
	return 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* *ret_app: whose packets are asked about. NULL + errno, explained. */
static struct explainer *open_explainer(const struct explain_args *args, uint32_t *ret_app,
					struct ipsecbpf_report *report)
{
	struct explainer *explainer = explainer_open(args->ifname, report);

	if (!explainer)
		return NULL;
	*ret_app = args->app ? explainer_app(explainer, args->app, report) : APP_ASK_MAPS;
	if (*ret_app)
		return explainer;
	explainer_close(explainer);
	errno = ENOENT;
	return NULL;
}

static int explain_one(const struct explain_args *args, const struct explain_packet *asked,
		       struct ipsecbpf_report *report)
{
	struct explain_packet packet = *asked;
	struct explainer *explainer = open_explainer(args, &packet.app, report);
	struct explanation explanation;
	int err;

	if (!explainer)
		return exit_code(-errno, args->ifname, report);
	err = explainer_ask(explainer, &packet, &explanation, report);
	if (!err) {
		out_string(OUT_JSON, "ifname", out_plain, args->ifname);
		explain_show(args->ifname, &explanation);
	}
	explainer_close(explainer);
	return exit_code(err, args->ifname, report);
}

/* A table of many packets; they come from explain_row(). */
static void begin_rows(const char *key)
{
	out_array(key);
	out_table(explain_headings, EXPLAIN_COLUMNS);
}

static int explain_row(struct explainer *explainer, const struct explain_packet *packet,
		       struct ipsecbpf_report *report)
{
	struct explanation explanation;
	int err = explainer_ask(explainer, packet, &explanation, report);

	if (err)
		return err;
	out_object(NULL);
	explain_show_row(&explanation, packet->frame ? packet->frame->number : 0);
	out_object_end();
	return 0;
}

static void end_rows(void)
{
	out_table_end();
	out_array_end();
}

static int explain_all(const struct explain_args *args, struct capture *capture,
		       struct capture_frame *frame, enum spd_direction direction,
		       struct ipsecbpf_report *report)
{
	struct explain_packet packet = {
		.direction = direction, .frame = frame, .forwarded = args->forwarded,
	};
	struct explainer *explainer = open_explainer(args, &packet.app, report);
	uint32_t count = 0, problems = 0;
	int result = 1, err = 0;

	if (!explainer)
		return -errno;
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	begin_rows("packets");
	while (result > 0 && count < CAPTURE_ROWS_MAX) {
		result = capture_next(capture, frame);
		if (result <= 0)
			break;
		count++;
		err = explain_row(explainer, &packet, problems < PROBLEMS_SHOWN ? report : NULL);
		problems += err == -EINVAL;
		if (err && err != -EINVAL)
			result = err;
	}
	end_rows();
	explainer_close(explainer);
	if (result > 0)
		report_add(report, REPORT_NOTE, args->pcap, "--packet N explains a later one",
			   "only the first %u packets are shown", count);
	if (problems > PROBLEMS_SHOWN)
		report_error(report, args->pcap, NULL, "nothing can be said of %u more packets",
			     problems - PROBLEMS_SHOWN);
	if (result < 0)
		return result;
	return problems ? -EINVAL : 0;
}

/* Reads up to packet `number`, from 1 as Wireshark counts. */
static int find_packet(const struct explain_args *args, struct capture *capture,
		       struct capture_frame *frame, struct ipsecbpf_report *report)
{
	int result = 1;

	for (uint32_t i = 0; result > 0 && i < args->packet; i++) {
		result = capture_next(capture, frame);
		if (!result) {
			report_error(report, args->pcap, NULL, "has no packet %u, only %u",
				     args->packet, i);
			result = -ENOENT;
		}
	}
	return result < 0 ? result : 0;
}

static int explain_capture(const struct explain_args *args, struct explain_packet *packet,
			   struct ipsecbpf_report *report)
{
	struct capture *capture = capture_open(args->pcap, report);
	struct capture_frame *frame;
	int code, err;

	if (!capture)
		return exit_code(-errno, args->pcap, report);
	frame = calloc(1, sizeof(*frame));
	err = frame ? 0 : -ENOMEM;
	packet->frame = frame;
	if (!err && args->packet)
		err = find_packet(args, capture, frame, report);
	else if (!err)
		err = explain_all(args, capture, frame, packet->direction, report);
	code = exit_code(err, args->pcap, report);
	if (!err && args->packet)
		code = explain_one(args, packet, report);
	capture_close(capture);
	free(frame);
	return code;
}

/* Whose sockets a process has open: its own application's, unless another made them. */
struct owners {
	struct app_socket_info *sockets;
	size_t count;
};

static int find_owners(const struct explain_args *args, struct owners *ret_owners,
		       struct ipsecbpf_report *report)
{
	struct app_live live;
	int err = app_live_open(&live, args->ifname, NULL);

	*ret_owners = (struct owners){ 0 };
	if (err)
		return err == -ENODATA ? 0 : err;	/* without a policy nobody is anything */
	if (live.policy->application_count)
		err = app_live_sockets(&live, (pid_t)args->pid, &ret_owners->sockets,
				       &ret_owners->count, report);
	app_live_close(&live);
	return err;
}

static uint32_t owner_of(const struct owners *owners, const struct packet_spec *spec)
{
	for (size_t i = 0; i < owners->count; i++) {
		const struct app_socket_info *info = &owners->sockets[i];

		if (info->proto == spec->proto && info->local.family == spec->family &&
		    ntohs(info->local.port) == spec->src_port &&
		    ntohs(info->remote.port) == spec->dst_port &&
		    !memcmp(&info->local.addr, &spec->src, sizeof(spec->src)) &&
		    !memcmp(&info->remote.addr, &spec->dst, sizeof(spec->dst)))
			return info->app;
	}
	return 0;
}

static int explain_sockets(const struct explain_args *args, const struct packet_spec *specs,
			   size_t count, struct ipsecbpf_report *report)
{
	struct explainer *explainer = explainer_open(args->ifname, report);
	struct owners owners;
	int err;

	if (!explainer)
		return -errno;
	err = find_owners(args, &owners, report);
	if (err)
		goto out;
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_uint(OUT_JSON, "pid", out_plain, args->pid);
	begin_rows("sockets");
	for (size_t i = 0; !err && i < count; i++) {
		const struct explain_packet packet = {
			.direction = SPD_OUT, .spec = &specs[i], .app = owner_of(&owners, &specs[i]),
		};

		err = explain_row(explainer, &packet, report);
	}
	end_rows();
	if (!count)
		report_add(report, REPORT_NOTE, args->ifname, NULL,
			   "process %u has no connected TCP or UDP socket", args->pid);
	free(owners.sockets);
out:
	explainer_close(explainer);
	return err;
}

static int explain_process(const struct explain_args *args, struct ipsecbpf_report *report)
{
	struct packet_spec *specs;
	size_t count;
	int err = process_sockets((int)args->pid, &specs, &count, report);

	if (err)
		return exit_code(err, args->ifname, report);
	err = explain_sockets(args, specs, count, report);
	free(specs);
	return exit_code(err, args->ifname, report);
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct explain_args *args = data;
	struct request request = { 0 };
	struct explain_packet packet = { .spec = &request.spec, .forwarded = args->forwarded };
	int code;

	if (!take_direction(&request, args))
		return usage_error(report, "one argument too many");
	packet.direction = request.direction;
	code = check_request(args, &request, report);
	if (code)
		return code;
	if (args->pid)
		return explain_process(args, report);
	if (args->pcap)
		return explain_capture(args, &packet, report);
	code = take_words(&request, args, report);
	return code ? code : explain_one(args, &packet, report);
}

const struct verb verb_explain = {
	.name = "explain",
	.summary = "what becomes of a packet, by which rule and SA, and of its answer",
	.details = "The packet goes through a second, private instance of the programs that are "
		   "attached, with the policy and the SAs that are live: no counter of the "
		   "attachment changes. Without in or out, it is one that goes out; --pcap needs "
		   "one of them, and asks about every packet as if it went that way (tcpdump -Q in or out captures "
		   "one); without "
		   "PROTOCOL, a ping; one port is DPORT. UDP to or from port 4500 is IKE, with --spi "
		   "ESP in UDP. The answer is what comes back, in the same VLAN and with the same "
		   "DSCP, through the other hook. Where the policy has applications, the packet "
		   "is that of the one whose socket has these addresses and ports now, if there is one, or of --app. "
		   "What the guard before an application's sockets would refuse of it after that is "
		   "not asked: stats counts that, by reason.",
	.operands = operands,
	.options = options,
	.args_size = sizeof(struct explain_args),
	.run = run,
};
