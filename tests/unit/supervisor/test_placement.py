from mlx_ollama.supervisor.placement import Evict, Load, Refuse, Resident, Wait, place


def resident(
    key: str, memory: int = 10, *, idle: bool = True, used: float = 0, leaving: bool = False
):
    return Resident(key=key, memory=memory, is_idle=idle, used=used, is_leaving=leaving)


def decide(needed: int, *residents: Resident, least: int | None = None, max_loaded: int = 3):
    least = needed if least is None else least
    return place(needed, least, residents, budget=100, max_loaded=max_loaded)


def test_an_empty_machine_takes_what_fits_and_gives_it_all():
    assert decide(60) == Load(100)


def test_an_estimate_over_the_budget_is_tried_when_the_weights_alone_fit():
    assert decide(150, least=90) == Load(100)


def test_weights_over_the_budget_are_refused():
    assert decide(150) == Refuse()


def test_there_is_room_beside_others():
    assert decide(60, resident("a", 40)) == Load(60)


def test_the_least_recently_used_idle_one_goes():
    decision = decide(80, resident("a", 30, used=2), resident("b", 30, used=1))
    assert decision == Evict("b")


def test_idle_ones_go_before_busy_ones():
    decision = decide(80, resident("a", 30, used=2), resident("b", 30, used=1, idle=False))
    assert decision == Evict("a")


def test_of_busy_ones_the_longest_unused_must_finish():
    decision = decide(
        80, resident("a", 30, used=2, idle=False), resident("b", 80, used=1, idle=False)
    )
    assert decision == Evict("b")


def test_what_is_leaving_is_waited_for():
    assert decide(80, resident("a", 60, leaving=True)) == Wait()


def test_more_goes_when_what_is_leaving_is_not_enough():
    decision = decide(80, resident("a", 10, leaving=True), resident("b", 60))
    assert decision == Evict("b")


def test_the_number_of_models_counts_like_memory():
    assert decide(1, resident("a", 1), max_loaded=1) == Evict("a")
    assert decide(1, resident("a", 1, leaving=True), max_loaded=1) == Wait()
