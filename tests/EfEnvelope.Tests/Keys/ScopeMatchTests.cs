using EfEnvelope.Keys;

namespace EfEnvelope.Tests.Keys;

/// <summary>What a row says of its cells' scope, whole or in part, against the scope of a key.</summary>
public sealed class ScopeMatchTests
{
    private const string Id = "0a0a0a0a-0000-0000-0000-000000000001";

    [Theory]
    [InlineData("tenant:1", "tenant:1", true)]
    [InlineData("tenant:1", "tenant:2", false)]
    [InlineData("tenant:1", "", false)]
    [InlineData("tenant:*", "tenant:1", false)]
    [InlineData("row:" + Id + "@tenant:1", "row:" + Id + "@tenant:1", true)]
    [InlineData("row:" + Id + "@tenant:1", "row:" + Id + "@tenant:2", false)]
    [InlineData("row:" + Id + "@tenant:1", "row:*@tenant:1", true)]
    [InlineData("row:" + Id + "@tenant:11", "row:*@tenant:1", false)]
    [InlineData("row:" + Id + "@tenant:1", "row:*@tenant:11", false)]
    [InlineData("row:" + Id + "@subject:a/1", "row:*@tenant:1", false)]
    [InlineData("tenant:1", "row:*@tenant:1", false)]
    [InlineData("row:" + Id + "@tenant:1", "row:" + Id + "@*", true)]
    [InlineData("row:0a0a0a0a-0000-0000-0000-000000000002@tenant:1", "row:" + Id + "@*", false)]
    [InlineData("row:" + Id + "@tenant:1", "row:" + Id + "@", false)]
    [InlineData("row:" + Id + "@tenant:1", "tenant:1", false)]
    [InlineData("global", "row:*@global", false)]
    public void A_key_is_the_rows_where_its_scope_agrees_with_all_that_the_row_says(string scope, string expected, bool matches)
        => Assert.Equal(matches, KeyScope.Matches(scope, expected));

    [Fact]
    public void The_parts_are_spelt_as_no_scope_is()
    {
        var id = Guid.Parse(Id);
        Assert.True(KeyScope.Matches(KeyScope.ForRow(id, KeyScope.ForTenant(7)), KeyScope.ForAllRows(KeyScope.ForTenant(7))));
        Assert.True(KeyScope.Matches(KeyScope.ForRow(id, KeyScope.ForTenant("*")), KeyScope.ForRow(id, KeyScope.Any)));
        Assert.False(KeyScope.Matches(KeyScope.ForRow(id, KeyScope.ForTenant("a")), KeyScope.ForRow(id, KeyScope.ForTenant("*"))));
    }
}
