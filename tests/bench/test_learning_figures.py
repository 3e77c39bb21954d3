"""The promises about learning hold on the real data, at full size: they take four seconds."""

from bench import learning


def test_the_banks_replay_keeps_its_promises(data_folder, monkeypatch):
    monkeypatch.setenv("INSTANTER_DATA", str(data_folder))
    found = learning.bank_figures()
    assert found["bank_rows"] == 36_224
    assert found["bank_log_loss"] <= 0.2293
    assert found["bank_block_auc_ratio"] >= 1.0


def test_a_thousand_attributes_do_not_hurt(data_folder, monkeypatch):
    monkeypatch.setenv("INSTANTER_DATA", str(data_folder))
    found = learning.profiles_figures()
    assert found["profiles_rows"] == 3_616
    assert found["profiles_auc"] >= 0.745
    assert found["profiles_log_loss"] <= 0.585


def test_a_thousand_attributes_do_not_hurt_while_serving(data_folder, monkeypatch):
    monkeypatch.setenv("INSTANTER_DATA", str(data_folder))
    found = learning.online_figures()
    assert found["online_half_log_loss"] <= 0.6
    assert found["online_log_loss"] <= found["online_all_log_loss"] - 0.03
