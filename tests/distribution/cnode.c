/* A C node: connects to a node, calls a function there, and sends to a registered process, which answers.
   cnode OWN COOKIE NODE */
#include <stdio.h>
#include <string.h>
#include <ei.h>

static int fail(const char *what)
{
    printf("%s fails\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    ei_cnode node;
    ei_x_buff message, answer;
    erlang_msg about;
    int connection, index, version, arity, type, size, got;
    long sum;
    char text[MAXATOMLEN];

    if (argc != 4 || ei_init() != 0 || ei_connect_init(&node, argv[1], argv[2], 1) < 0)
        return fail("starting");
    if ((connection = ei_connect(&node, argv[3])) < 0)
        return fail("connecting");

    ei_x_new(&message);
    ei_x_new(&answer);
    ei_x_format_wo_ver(&message, "[[1,2,3]]");
    if (ei_rpc(&node, connection, "lists", "sum", message.buff, message.index, &answer) < 0)
        return fail("calling");
    index = 0;
    if (ei_decode_long(answer.buff, &index, &sum) < 0)
        return fail("reading the sum");
    printf("sum %ld\n", sum);

    ei_x_free(&message);
    ei_x_new_with_version(&message);
    ei_x_encode_tuple_header(&message, 2);
    ei_x_encode_pid(&message, ei_self(&node));
    ei_x_encode_atom(&message, "hello");
    if (ei_reg_send(&node, connection, "answers", message.buff, message.index) < 0)
        return fail("sending");
    do {
        ei_x_free(&answer);
        ei_x_new(&answer);
        got = ei_xreceive_msg_tmo(connection, &about, &answer, 10000);
    } while (got == ERL_TICK);
    if (got != ERL_MSG)
        return fail("receiving");
    index = 0;
    if (ei_decode_version(answer.buff, &index, &version) < 0
        || ei_decode_tuple_header(answer.buff, &index, &arity) < 0 || arity != 2
        || ei_decode_atom(answer.buff, &index, text) < 0)
        return fail("reading the answer");
    ei_get_type(answer.buff, &index, &type, &size);
    printf("answer %s, and %d bytes\n", text, size);
    return 0;
}
