from datetime import timedelta
from tests.merchants.outbound.test_delivering import *
from tests.merchants.outbound.test_delivering import happen, send, the_delivery, the_endpoint
for _n in list(globals()):
    if _n.startswith("test_"): del globals()[_n]

def dump(what):
    print("==", what)
    for m in all_of(OutboxMessage):
        print({c.key: getattr(m, c.key) for c in OutboxMessage.__table__.columns})
    for m in all_of(WebhookDelivery):
        print({c.key: getattr(m, c.key) for c in WebhookDelivery.__table__.columns})

def test_x(cafe, shop, hook_secret):
    shop.answers = ["410"]
    happen(cafe)
    send()
    send(timedelta(hours=1))
    with unit_of_work():
        endpoints.resume(cafe, mode="test", by="alice", at=clock.now())
    dump("resumed")
    send(timedelta(hours=1))
    dump("sent")
    with clock.shifted(timedelta(hours=1)):
        send_mail()
    dump("mail")
    assert 0
