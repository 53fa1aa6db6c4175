"""What people may send."""

from django import forms


class ReviewForm(forms.Form):
    """A review; its id was made with the page that showed the form."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    author = forms.CharField(max_length=60, label="Your name")
    stars = forms.TypedChoiceField(choices=[(5, "★★★★★"), (4, "★★★★"), (3, "★★★"), (2, "★★"), (1, "★")], coerce=int)
    text = forms.CharField(max_length=2000, label="What do you say?", widget=forms.Textarea(attrs={"rows": 3}))


class QuantityForm(forms.Form):
    """How many of a product; 0 takes it out."""

    quantity = forms.IntegerField(min_value=0, max_value=99)


class PurchaseForm(forms.Form):
    """A purchase: nothing but the number that the form got with the page that showed the cart."""

    form = forms.UUIDField()


class PriceForm(forms.Form):
    """A new price, in euros."""

    sku = forms.SlugField(max_length=40)
    price = forms.DecimalField(min_value=0, max_value=100_000, decimal_places=2)
